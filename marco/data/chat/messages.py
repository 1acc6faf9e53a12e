"""A conversation, and what it must be to be trained on: a system prompt or none, then turns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]

# Reasons a sample is dropped: the keys of `ChatCounts.dropped`, as they stand in the log.
NO_ANSWER = "samples without an answer to train on"
EMPTY = "samples with an empty message"
ORDER = "samples whose user and assistant do not take turns, the user first"
ROLE = "samples with a role other than system, user and assistant"
NOT_TEXT = "samples with content that is not text"
TOO_LONG = "samples whose first answer begins after max_tokens"

#: What Unicode promises never to assign: no text has them, and rendering needs some.
NONCHARACTERS = re.compile("[\ufdd0-\ufdef]")


class UnusableError(Exception):
    """A well-formed sample that cannot be trained on; its argument is the reason, from above."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: who speaks.
        content: what is said.
        trained: of an assistant's, whether it is a target (OpenAI's `weight`, 0 or 1).
    """

    role: Role
    content: str
    trained: bool = True


@dataclass
class ChatCounts:
    """What became of the samples of a source: nothing is dropped or cut without a number.

    Attributes:
        dropped: reason → samples.
        unanswered: last messages of users that were left out, as nobody answers them.
        cut: samples that are longer than `max_tokens`.
        cut_tokens: tokens of theirs that are never seen.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    cut: int = 0
    cut_tokens: int = 0

    def ledger(self) -> dict[str, int]:
        """Return what the ledger says of the source beside what was served."""
        return {
            "dropped_documents": self.dropped.total(),
            "cut_documents": self.cut,
            "cut_tokens": self.cut_tokens,
        }

    def notes(self, name: str) -> list[str]:
        """Return one line for each thing that was dropped or cut."""
        lines = [f"{name}: dropped {count} {reason}" for reason, count in self.dropped.items()]
        if self.unanswered:
            lines.append(f"{name}: {self.unanswered} last messages that nobody answers left out")
        if self.cut:
            lines.append(
                f"{name}: {self.cut} samples cut at max_tokens, by {self.cut_tokens:,} tokens"
            )
        return lines


def usable(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return what of a conversation is trained on: without empty system prompts or a last question.

    Raises:
        UnusableError: with the reason.
    """
    if messages and messages[0].role == "system" and not messages[0].content.strip():
        messages = messages[1:]
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for number, message in enumerate(turns):
        if message.role != ("user", "assistant")[number % 2]:
            raise UnusableError(ORDER)
        if not message.content.strip():
            raise UnusableError(EMPTY)
    if turns and turns[-1].role == "user":
        messages = messages[:-1]
    if not any(message.role == "assistant" and message.trained for message in messages):
        raise UnusableError(NO_ANSWER)
    return tuple(messages)
