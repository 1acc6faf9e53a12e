"""Translation of held-out paragraphs, any language into any other."""

from __future__ import annotations

from collections.abc import Sequence

import datasets

from marco.data.udhr import ARTICLES
from marco.errors import DataError
from marco.evaluation.tasks.embedded.declarations import (
    HELD_OUT,
    RULER,
    TRAINING,
    Place,
    aligned,
    drawn,
    paragraphs,
)
from marco.languages import get

#: Paragraphs that examples are taken from, the shortest first.
EXAMPLES = 16

#: Characters in English: of 10 held-out paragraphs 7 are no longer. A vocabulary of 1,024 has both
#: sides of one, with an example, in 512 tokens.
LONGEST = 300


def documents(source: str, target: str, **_: object) -> dict[str, datasets.Dataset]:
    """Return the paragraph pairs of one direction: `test`, at most 7, and `train`.

    Args:
        source: the language translated from, as `marco.languages.get` understands it.
        target: the language translated into.

    Raises:
        DataError: the two have no held-out paragraph in common.
    """
    one, other = get(source), get(target)
    lengths = {place: len(text) for place, text in paragraphs(RULER, ARTICLES).items()}
    test = {
        place: pair
        for place, pair in _pairs(one.code, other.code, HELD_OUT).items()
        if lengths[place] <= LONGEST
    }
    if not test or one.code == other.code:
        raise DataError(
            f"The declarations in {one.name} and {other.name} have no two paragraphs of articles "
            f"{HELD_OUT[0]} to {HELD_OUT[-1]} that translate each other."
        )
    held_out = [
        text for code in (one.code, other.code) for text in paragraphs(code, HELD_OUT).values()
    ]
    train = {
        place: pair
        for place, pair in _pairs(one.code, other.code, TRAINING[1:]).items()  # no preamble
        # Nor what stands, in some declarations, in two articles.
        if not any(text in hidden or hidden in text for text in pair for hidden in held_out)
    }
    asked = sorted(test, key=lambda place: drawn("translate", place))
    shown = sorted(train, key=lengths.__getitem__)[:EXAMPLES]
    names = {"source_name": one.name, "target_name": other.name}
    return {
        split: datasets.Dataset.from_list(
            [
                {"id": f"{place[0]}.{place[1]}", "source": text, "target": translation, **names}
                for place, (text, translation) in pairs.items()
            ]
        )
        for split, pairs in (
            ("test", {place: test[place] for place in asked}),
            ("train", {place: train[place] for place in shown}),
        )
    }


def _pairs(source: str, target: str, numbers: Sequence[int]) -> dict[Place, tuple[str, str]]:
    theirs = aligned(target, numbers)
    return {
        place: (text, theirs[place])
        for place, text in aligned(source, numbers).items()
        if place in theirs
    }
