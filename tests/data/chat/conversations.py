"""Conversations and settings that the tests of chat data share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from marco.data.chat.messages import ChatCounts, Message, usable
from marco.data.chat.text import ChatText, Conversation
from marco.data.documents import Corpus
from marco.tokenizers import Tokenizer
from marco.tokenizers.qwen2 import QwenTokenizer

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"

#: What Qwen2's template makes of the same, with its answers marked for transformers' own mask.
MARKED = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
)


def chat(*contents: str, system: str | None = None) -> tuple[Message, ...]:
    """Turns of a user and an assistant, after a system prompt or none."""
    turns = [Message((USER, ASSISTANT)[n % 2], text) for n, text in enumerate(contents)]
    return (*([] if system is None else [Message(SYSTEM, system)]), *turns)


def rows(path: Path, *entries: Any) -> Path:
    """Write a file with an object a line."""
    path.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))
    return path


def openai(*messages: Message) -> dict[str, Any]:
    """A line in OpenAI's format."""
    return {"messages": [{"role": one.role, "content": one.content} for one in messages]}


@lru_cache(maxsize=1)
def qwen2() -> Tokenizer:
    """The real vocabulary."""
    return QwenTokenizer().load(Corpus({}, {}))


@dataclass(frozen=True, kw_only=True)
class Given(ChatText):
    """Conversations that a test has at hand."""

    chats: tuple[Conversation, ...]

    def conversations(self, where: str, counts: ChatCounts) -> Iterator[Conversation]:
        yield from map(usable, self.chats)

    def text_key(self) -> str:
        return repr(self.chats)
