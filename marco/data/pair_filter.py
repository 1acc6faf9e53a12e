"""Which pairs of a row may be rendered, and in which directions; all others are counted."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from marco.data.directions import Direction, Directions
from marco.data.pair_counts import ALONE, COPY, EMPTY, LENGTH, NO_DIRECTION, PairCounts


@dataclass(frozen=True)
class Filter:
    """What is dropped although both sides have text; see the same settings of `ParallelText`.

    Attributes:
        drop_copies: pairs whose sides are the same.
        max_length_ratio: pairs with one side longer than so many times the other, in characters.
    """

    drop_copies: bool = False
    max_length_ratio: float | None = None

    def reason(self, one: str, other: str) -> str | None:
        """Return why a pair is dropped, or None."""
        if self.drop_copies and one == other:
            return COPY
        shorter, longer = sorted((len(one), len(other)))
        if self.max_length_ratio is not None and longer > self.max_length_ratio * shorter:
            return LENGTH
        return None


def candidates(
    row: Mapping[str, str], directions: Directions, refused: Filter, counts: PairCounts
) -> tuple[dict[str, str], list[tuple[Direction, float]]]:
    """Return what may be drawn from a row, and add everything else to `counts`.

    Args:
        row: canonical code → text, in any order and Unicode form; "" is a missing text.
        directions: their weights.
        refused: what else to drop.
        counts: gets the row, its pairs, and those that are dropped.

    Returns:
        The texts that there are, NFC, edges stripped; and the directions with their weights above
        0. Both are ordered by code.
    """
    texts = {code: unicodedata.normalize("NFC", row[code]).strip() for code in sorted(row)}
    filled = {code: text for code, text in texts.items() if text}
    if len(texts) < 2:
        counts.dropped[ALONE] += 1
        return filled, []
    counts.rows += 1
    counts.pairs += math.comb(len(texts), 2)
    if empty := math.comb(len(texts), 2) - math.comb(len(filled), 2):
        counts.dropped[EMPTY] += empty
    weighted: list[tuple[Direction, float]] = []
    for one, other in combinations(filled, 2):
        if reason := refused.reason(filled[one], filled[other]):
            counts.dropped[reason] += 1
            continue
        ways = [(way, directions.weight(*way)) for way in ((one, other), (other, one))]
        if not any(weight for _, weight in ways):
            counts.dropped[NO_DIRECTION] += 1
        weighted += [(way, weight) for way, weight in ways if weight]
    return filled, weighted
