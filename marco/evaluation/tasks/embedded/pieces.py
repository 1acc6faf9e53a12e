"""Cutting a text where a reader of its language would not mind."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import pairwise

from marco.evaluation.tasks.embedded.declarations import articles

# Of Thai's characters 3 % are spaces, of Khmer's 4; of the languages that part words 5.6 and more.
_SPACED = 0.05


@lru_cache(maxsize=512)
def separator(code: str) -> str:
    """Return what stands between two words of a language: a space, or nothing."""
    text = " ".join(articles(code).values())
    return " " if sum(map(str.isspace, text)) >= _SPACED * len(text) else ""


def cut(text: str, count: int, separator: str) -> list[str]:
    """Cut a text into `count` pieces of about the same length; none where a piece would be empty.

    Args:
        text: without line ends.
        count: 2 at least.
        separator: " ": a piece ends with a word. "": with a character that others may follow.
    """
    allowed = [place for place in range(1, len(text)) if _bound(text, place, separator)]
    wanted = [len(text) * n // count for n in range(1, count)]
    bounds = [min(allowed, key=lambda place: abs(place - near), default=0) for near in wanted]
    pieces = [text[start:end].strip() for start, end in pairwise([0, *bounds, len(text)])]
    return pieces if all(pieces) else []


def opening(text: str, size: int, separator: str) -> str:
    """Return the text, or as much of its beginning as `size` UTF-8 bytes hold."""
    held = text.encode()[:size].decode(errors="ignore")
    if held == text:
        return text
    end = next((i for i in range(len(held), 0, -1) if _bound(text, i, separator)), len(held))
    return text[:end].strip()


def _bound(text: str, place: int, separator: str) -> bool:
    """Whether a piece may begin at `place`: before a space, or before a letter without spaces."""
    if separator:
        return text[place].isspace()
    # Not before a vowel sign or a comma, which belong to what stands before them.
    return unicodedata.category(text[place])[0] in "LN"
