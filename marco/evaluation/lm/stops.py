"""Stop strings, looked for in the text as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: What a decoder writes for bytes that are no character (yet).
UNFINISHED = "�"
#: Bytes of the longest character: what is still none after so many tokens never will be.
LONGEST = 4


class StopWatch:
    """The text of one continuation, of which only the newest tokens are decoded.

    A token is decoded beside the ones before it: some vocabularies write a space, or join bytes,
    by what stands to the left.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._kept = max(map(len, stop), default=1) - 1
        self._ids: list[int] = []  # [context of the next ones | not yet text]
        self._context = 0
        self._tail = ""

    def add(self, token: int) -> bool:
        """Take the next token; return whether a stop string is now complete."""
        if not self._stop:
            return False
        self._ids.append(token)
        before = self._decode(self._ids[: self._context])
        text = self._decode(self._ids)
        grown = self._tail + text[len(before) :]
        if any(word in grown for word in self._stop):
            return True
        pending = len(self._ids) - self._context
        if pending >= LONGEST or not text.endswith(UNFINISHED):
            self._tail = grown[len(grown) - self._kept :] if self._kept < len(grown) else grown
            self._ids = self._ids[self._context :]
            self._context = len(self._ids)
        return False

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False) if ids else ""
        return text
