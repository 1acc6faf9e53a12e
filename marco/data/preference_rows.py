"""One preference: a prompt and two answers, as text or as messages, and their tokens.

Prompt and answers are tokenised apart, so that a model that is given the prompt's tokens and goes
on from there is what is trained, whatever characters meet at the border.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError, DataError

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer

#: (role, content)
Message = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and its chosen and rejected answers: all of them texts, or all of them messages."""

    prompt: str | tuple[Message, ...]
    chosen: str | tuple[Message, ...]
    rejected: str | tuple[Message, ...]

    def text_bytes(self) -> int:
        """Return the UTF-8 bytes of what is said, the prompt counted for each answer."""
        return sum(
            len(part.encode())
            for side in (self.prompt, self.prompt, self.chosen, self.rejected)
            for part in ([side] if isinstance(side, str) else [content for _, content in side])
        )


@dataclass(frozen=True, slots=True)
class Sides:
    """The ids of a pair. `ends`: whether the end-of-text after an answer is a part of it."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    ends: bool

    @property
    def tokens(self) -> int:
        """Of both sides, each with the prompt and an end-of-text."""
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected) + 2


def parse(row: Mapping[str, Any], place: str) -> Pair:
    """Return a row's pair.

    `chosen` and `rejected` are strings, with a string `prompt`; or lists of messages (`role`,
    `content`), with the prompt's messages before them or, where there is no list `prompt`, in both
    of them: what they begin with alike is the prompt.

    Raises:
        DataError: something else; `place` is the row's file and line.
    """
    for key in ("chosen", "rejected"):
        if not isinstance(row.get(key), str | list):
            keys = ", ".join(sorted(map(str, row))) or "none"
            raise DataError(
                f"{place}: '{key}' should be a string or a list of messages "
                f"(keys here: {keys:.200})."
            )
    prompt, chosen, rejected = row.get("prompt"), row["chosen"], row["rejected"]
    if isinstance(chosen, str) and isinstance(rejected, str):
        if not isinstance(prompt, str):
            raise DataError(f"{place}: 'prompt' should be a string, as the answers are.")
        return Pair(_text(prompt, place), _text(chosen, place), _text(rejected, place))
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise DataError(f"{place}: 'chosen' is text and 'rejected' is not, or the other way round.")
    sides = _messages(chosen, place), _messages(rejected, place)
    if isinstance(prompt, list):
        return Pair(_messages(prompt, place), *sides)
    alike = takewhile(lambda both: both[0] == both[1], zip(*sides, strict=False))
    shared = tuple(message for message, _ in alike)
    if shared and shared[-1][0] == "assistant":  # all the same: no prompt, but a whole conversation
        shared = shared[:-1]
    if not shared:
        raise DataError(
            f"{place}: 'chosen' and 'rejected' begin with different messages, and there is no list "
            "'prompt'."
        )
    return Pair(shared, sides[0][len(shared) :], sides[1][len(shared) :])


def tokenise(pairs: Sequence[Pair], tokenizer: Tokenizer) -> Iterator[Sides]:
    """Yield the tokens of pairs, in their order.

    Raises:
        ConfigError: messages, and a tokenizer without a chat template, or with one that renders a
            prompt differently where an answer follows.
    """
    texts = [
        side
        for pair in pairs
        for side in (pair.prompt, pair.chosen, pair.rejected)
        if isinstance(side, str)
    ]
    encoded = iter(tokenizer.encode_batch(texts))
    chat = None
    for pair in pairs:
        if isinstance(pair.prompt, str):
            yield Sides(next(encoded), next(encoded), next(encoded), True)
        else:
            chat = chat or _Chat(tokenizer)
            yield chat.sides(pair)


class _Chat:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self.name = tokenizer.name
        self.backend = tokenizer.transformers()
        self.end_of_text = tokenizer.end_of_text
        if not self.backend.chat_template:
            raise ConfigError(
                f"data: the pairs are messages, and the tokenizer {tokenizer.name} has no chat "
                "template to render them with."
            )

    def sides(self, pair: Pair) -> Sides:
        prompt = self._text(pair.prompt, True)
        answers = [self._answer(pair, prompt, answer) for answer in (pair.chosen, pair.rejected)]
        ids = [self._ids(text) for text in (prompt, *answers)]
        if any(self.end_of_text in found for found in ids):
            raise ConfigError(
                f"data: the chat template of {self.name} writes the token that ends documents."
            )
        return Sides(ids[0], ids[1], ids[2], ends=False)

    def _answer(self, pair: Pair, prompt: str, answer: Sequence[Any]) -> str:
        whole = self._text((*pair.prompt, *answer), False)
        if not whole.startswith(prompt):
            raise ConfigError(
                f"data: the chat template of {self.name} renders a prompt differently where an "
                "answer follows, so where the answer begins cannot be told."
            )
        return whole[len(prompt) :]

    def _text(self, messages: Sequence[Any], generation: bool) -> str:
        said = [{"role": role, "content": content} for role, content in messages]
        rendered: str = self.backend.apply_chat_template(
            said, add_generation_prompt=generation, tokenize=False
        )
        return rendered

    def _ids(self, text: str) -> list[int]:
        return list(self.backend(text, add_special_tokens=False)["input_ids"])


def _messages(value: list[Any], place: str) -> tuple[Message, ...]:
    found = []
    for message in value:
        role = message.get("role") if isinstance(message, Mapping) else None
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise DataError(
                f"{place}: a message should be an object with strings 'role' and 'content', not "
                f"{json.dumps(message, ensure_ascii=False, default=str):.80}."
            )
        found.append((role, _text(content, place)))
    return tuple(found)


def _text(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{place}: half a surrogate pair; it cannot be written as UTF-8.") from None
    return text
