"""Chat as a source: conversations in tokens, of which the assistant's are targets.

What every kind of chat data shares is here; where conversations come from is `source` (a user's
files) and `udhr_chat` (instructions made of the embedded data).
"""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marco.data.chat.encoding import encode, renderer
from marco.data.chat.messages import TOO_LONG, ChatCounts, Message
from marco.data.chat.system_prompts import SystemPrompt, check_prompts, with_prompt
from marco.data.settings import SourceSettings
from marco.data.stores import SEVERAL, MemoryStore, Source
from marco.errors import ConfigError, DataError
from marco.languages import get
from marco.tokenizers.chat_template import CHATML

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer

log = logging.getLogger(__name__)

# Conversations that are tokenised at a time.
_BATCH = 1000

Conversation = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class ChatText(SourceSettings):
    """Settings of every source of conversations.

    Attributes:
        max_tokens: longer conversations are cut there, and dropped where no answer is left; at most
            `batch.sequence_length`, since a conversation is never divided.
        language: of the answers; None: the source's name is one.
        template: null: the tokenizer's own, or Qwen2's where it has none; chatml: Qwen2's; else a
            file with a template in Jinja.
        system_prompts: for conversations without one, drawn by weight; null: none.
        seed: of the draws.
    """

    max_tokens: int
    language: str | None = None
    template: str | None = None
    system_prompts: dict[str, SystemPrompt] | None = None
    seed: int = 0

    @abstractmethod
    def conversations(self, where: str, counts: ChatCounts) -> Iterator[Conversation]:
        """Yield the conversations as they are trained on; what is dropped is added to `counts`.

        Raises:
            ConfigError, DataError: text that cannot be used, naming the key `where` or the file.
        """

    @abstractmethod
    def text_key(self) -> str:
        """Return a hash of the conversations, and of how they are read."""

    def check(self, where: str) -> None:
        """Find what is wrong before anything starts.

        Raises:
            ConfigError: naming a key below `where`.
        """
        if self.max_tokens < 2:
            raise ConfigError(f"{where}.max_tokens={self.max_tokens}: at least 2.")
        if self.language not in (None, SEVERAL):
            try:
                get(str(self.language))
            except ConfigError as error:
                raise ConfigError(f"{where}.language: {error}") from None
        check_prompts(self.system_prompts, f"{where}.system_prompts")
        self._template(where)

    def check_tokenizer(self, tokenizer: Callable[[], Tokenizer], where: str) -> None:
        """Raise ConfigError where the tokenizer has no template, nor the tokens of Qwen2's."""
        renderer(tokenizer(), self._template(where), f"{where}.template")

    def open(self, name: str, language: str, tokenizer: Tokenizer) -> Source:
        """Return the conversations in tokens; what was dropped or cut is logged.

        Raises:
            DataError: what reading them raises; nothing is left to train on.
        """
        where = f"data.sources.{name}"
        counts = ChatCounts()
        by = renderer(tokenizer, self._template(where), f"{where}.template")
        tokens, targets, text_bytes = [np.empty(0, np.int32)], [np.empty(0, np.bool_)], 0
        made = self._with_prompts(where, counts)
        while batch := list(islice(made, _BATCH)):
            for one in encode(batch, by, tokenizer):
                kept = one.targets[: self.max_tokens]
                kept[:1] = False  # nothing comes before the first token that could predict it
                if not kept.any():
                    counts.dropped[TOO_LONG] += 1
                    continue
                if cut := len(one.tokens) - len(kept):
                    counts.cut += 1
                    counts.cut_tokens += cut
                tokens.append(one.tokens[: self.max_tokens])
                targets.append(kept)
            text_bytes += sum(len(each.content.encode()) for chat in batch for each in chat)
        for note in counts.notes(name):
            log.info("Data: %s", note)
        if len(tokens) == 1:
            raise DataError(
                f"{where}: no conversations to train on. " + " ".join(counts.notes(name))
            )
        store = MemoryStore(
            np.concatenate(tokens),
            np.cumsum([len(each) for each in tokens[1:]], dtype=np.int64),
            np.concatenate(targets),
        )
        return Source(
            name,
            language,
            store,
            tokenizer.end_of_text,
            text_bytes,
            self._content_key(by.template),
            whole=True,
            lost=counts.ledger(),
        )

    def preview(self, name: str, tokenizer: Tokenizer, count: int) -> list[str]:
        """Return the first `count` conversations as they are rendered."""
        by = renderer(tokenizer, self._template(name), f"{name}.template")
        found = islice(self._with_prompts(name, ChatCounts()), count)
        return [by.render(messages).text for messages in found]

    def _with_prompts(self, where: str, counts: ChatCounts) -> Iterator[Conversation]:
        prompts = list((self.system_prompts or {}).values())
        for messages in self.conversations(where, counts):
            yield with_prompt(messages, prompts, self.seed)

    def _content_key(self, template: str) -> str:
        decides = (self.text_key(), template, self.system_prompts, self.max_tokens, self.seed)
        return hashlib.sha256(repr(decides).encode()).hexdigest()

    def _template(self, where: str) -> str | None:
        if self.template is None or self.template == "chatml":
            return CHATML if self.template else None
        path = Path(self.template).expanduser()
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{where}.template={self.template}: null, chatml, or a file with a template; "
                f"{error}."
            ) from None
