"""Language identification: which of four languages is a held-out paragraph in?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import datasets

from marco.errors import DataError
from marco.evaluation.tasks.embedded.declarations import (
    HELD_OUT,
    RULER,
    TRAINING,
    Place,
    aligned,
    articles,
    declared,
    drawn,
    paragraphs,
)
from marco.evaluation.tasks.embedded.pieces import opening, separator
from marco.languages import Language, get

OPTIONS = 4

#: UTF-8 bytes of a paragraph that are shown, at most: enough to tell, and a short row.
SHOWN = 384

#: Examples: paragraphs in languages drawn for all tasks alike, of so many characters in English.
EXAMPLES = 16
LENGTHS = range(60, 131)


def documents(language: str, **_: object) -> dict[str, datasets.Dataset]:
    """Return the paragraphs of one language, each with four names: `test`, and `train`.

    The others are languages that CLDR has names in (not those that hardly any text is in), of the
    same script, and of the same family as far as there are such; what is left over is filled from
    the family, then from all. `train` has examples in any language, the same for every task: were
    they all in this one, they would give the answer away.

    Args:
        language: as `marco.languages.get` understands it.

    Raises:
        DataError: there is no such declaration, or none of its held-out articles.
    """
    asked = get(language)
    test = [
        _question(asked, place, text) for place, text in paragraphs(asked.code, HELD_OUT).items()
    ]
    if not test:
        raise DataError(f"The declaration in {asked.name} has no held-out paragraph.")
    return {
        "test": datasets.Dataset.from_list(sorted(test, key=lambda doc: drawn("lid", doc["id"]))),
        "train": _examples(),
    }


def _question(asked: Language, place: Place, text: str) -> dict[str, Any]:
    shown = opening(text, SHOWN, separator(asked.code))
    others = _others(asked, place, shown)
    answer = drawn("answer", asked.code, place) % OPTIONS
    choices = [*others[:answer], asked, *others[answer:]]
    return {
        "id": f"{asked.code}/{place[0]}.{place[1]}",
        "text": shown,
        "choices": [choice.name for choice in choices],
        "answer": answer,
    }


def _others(asked: Language, place: Place, shown: str) -> list[Language]:
    """Return the three nearest languages in a drawn order; none that has this very text."""

    def distance(other: Language) -> tuple[int, int]:
        script, family = other.script == asked.script, other.family == asked.family
        return 3 - 2 * script - family, drawn("other", asked.code, place, other.code)

    found = (
        other
        for other in sorted(_known(), key=distance)
        if other.code != asked.code and shown not in articles(other.code).get(place[0], "")
    )
    return [next(found) for _ in range(OPTIONS - 1)]


@lru_cache(maxsize=1)
def _known() -> Sequence[Language]:
    return [language for language in map(get, declared()) if language.cldr is not None]


@lru_cache(maxsize=1)
def _examples() -> datasets.Dataset:
    return datasets.Dataset.from_list(list(_drawn_examples()))


def _drawn_examples() -> Iterator[dict[str, Any]]:
    short = {p for p, text in paragraphs(RULER, TRAINING[1:]).items() if len(text) in LENGTHS}
    for asked in sorted(_known(), key=lambda known: drawn("example", known.code))[:EXAMPLES]:
        there = aligned(asked.code, [place[0] for place in short])
        place = min(short & there.keys(), key=lambda place: drawn("example", asked.code, place))
        yield _question(asked, place, there[place])
