"""Article cloze: which of four texts of the same language does a held-out article go on with?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import datasets

from marco.errors import DataError
from marco.evaluation.tasks.embedded.declarations import (
    HELD_OUT,
    RULER,
    TRAINING,
    articles,
    drawn,
    paragraphs,
)
from marco.evaluation.tasks.embedded.pieces import cut, separator
from marco.languages import get

OPTIONS = 4

#: Characters of a piece, in English. Elsewhere an article has as many pieces as in English.
PIECE = 80

#: Pieces before the one that is asked, at most.
BEFORE = 3

#: Questions of articles 1 to 25, for examples.
EXAMPLES = 8

#: (article, piece within it).
Place = tuple[int, int]


def documents(language: str, **_: object) -> dict[str, datasets.Dataset]:
    """Return the questions of one language: `test`, at most 20, and `train`.

    An article, its paragraphs one after the other, is cut into pieces that end with a word (in
    languages that write no spaces, with a character). The question is what comes after up to three
    pieces; the wrong answers are pieces of other articles, at the same places in every language.

    Args:
        language: as `marco.languages.get` understands it.

    Raises:
        DataError: there is no such declaration, or too little of it.
    """
    asked = get(language)
    test = list(_questions(asked.code, HELD_OUT))
    if not test:
        raise DataError(f"The declaration in {asked.name} has too few held-out articles.")
    return {
        "test": datasets.Dataset.from_list(test),
        "train": datasets.Dataset.from_list(
            list(islice(_questions(asked.code, TRAINING[1:]), EXAMPLES))
        ),
    }


def _questions(code: str, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    pieces = {
        (number, place): piece
        for number in numbers
        for place, piece in enumerate(_pieces(code, number))
    }
    between = separator(code)
    for number, place in sorted(pieces, key=lambda place: drawn("cloze", place)):
        if place == 0:
            continue
        others = _others(pieces, (number, place))
        if len(others) < OPTIONS - 1:
            continue
        answer = drawn("answer", number, place) % OPTIONS
        before = [pieces[number, n] for n in range(max(0, place - BEFORE), place)]
        choices = [*others[:answer], pieces[number, place], *others[answer:]]
        yield {
            "id": f"{code}/{number}.{place}",
            "text": between.join(before),
            "choices": [between + choice for choice in choices],
            "answer": answer,
        }


def _others(pieces: dict[Place, str], asked: Place) -> list[str]:
    """Return three pieces of other articles, different from the right one and each other."""
    found: list[str] = []
    for place in sorted(pieces, key=lambda place: drawn("other", asked, place)):
        if place[0] != asked[0] and pieces[place] not in (pieces[asked], *found):
            found.append(pieces[place])
    return found[: OPTIONS - 1]


def _pieces(code: str, number: int) -> list[str]:
    text = separator(code).join(paragraphs(code, [number]).values())
    return cut(text, _count(number), separator(code))


@lru_cache(maxsize=31)
def _count(number: int) -> int:
    return max(2, round(len(articles(RULER)[number]) / PIECE))
