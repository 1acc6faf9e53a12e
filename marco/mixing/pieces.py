"""The integer arithmetic under a schedule: each source's tokens as polynomials, and back."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """A stretch of the run in which every share is constant, or moves linearly.

    After ``n`` of its tokens source i has ``(base[i] + slope[i] n + bend[i] n²) / denominator``
    tokens since the run's start: exactly, for floats are ratios of whole numbers.

    Attributes:
        start: the token it begins at.
        length: tokens; None: it goes on for ever.
    """

    start: int
    length: int | None
    denominator: int
    base: list[int]
    slope: list[int]
    bend: list[int] | None

    def scaled(self, index: int, n: int) -> int:
        """Return ``denominator`` times the tokens of a source after ``n`` tokens of the piece."""
        bend = 0 if self.bend is None else self.bend[index]
        return self.base[index] + n * (self.slope[index] + n * bend)

    def least(self, index: int, amount: int) -> int | None:
        """Return the least n with at least ``amount`` tokens; None: never.

        A piece with a length must end with at least ``amount``.
        """
        wanted = amount * self.denominator - self.base[index]
        slope = self.slope[index]
        if wanted <= 0:
            return 0
        if self.bend is not None and self.length is not None:
            bend = self.bend[index]
            return bisect_left(range(self.length), wanted, key=lambda n: n * (slope + n * bend))
        return -(-wanted // slope) if slope else None

    def greatest(self, index: int, amount: int) -> int | None:
        """Return the greatest n with at most ``amount`` tokens; None: more than the piece has.

        The piece must begin with at most ``amount``.
        """
        room = amount * self.denominator - self.base[index]
        slope = self.slope[index]
        if self.bend is not None and self.length is not None:
            bend = self.bend[index]
            n = bisect_right(range(self.length + 1), room, key=lambda n: n * (slope + n * bend)) - 1
            return n if n < self.length else None
        if slope == 0:
            return None
        n = room // slope
        return n if self.length is None or n < self.length else None

    def totals(self, n: int) -> tuple[list[int], int]:
        """Return the scaled tokens of every source after ``n`` tokens, and their denominator."""
        numerators = [self.scaled(index, n) for index in range(len(self.base))]
        if self.bend is None:
            return numerators, self.denominator
        # The length in the denominator is gone at the end; it must not pile up.
        common = math.gcd(self.denominator, *numerators)
        return [numerator // common for numerator in numerators], self.denominator // common


def piece(
    start: int,
    length: int | None,
    first: Sequence[float],
    last: Sequence[float],
    totals: tuple[list[int], int],
) -> Piece:
    """Make the piece that goes on from ``totals`` with shares from ``first`` to ``last``.

    What counts are the shares' ratios, not their sum. Shares that move need a ``length``.
    """
    base, below = totals
    parts, whole = _ratios(first)
    if first == last or length is None:
        denominator = math.lcm(below, whole)
        slope = [part * (denominator // whole) for part in parts]
        bend = None
    else:
        final, final_whole = _ratios(last)
        common = math.lcm(whole, final_whole)
        turn = 2 * length * common
        denominator = math.lcm(below, turn)
        slope = [part * (denominator // whole) for part in parts]
        bend = [
            (after * (common // final_whole) - before * (common // whole)) * (denominator // turn)
            for before, after in zip(parts, final, strict=True)
        ]
    scale = denominator // below
    return Piece(start, length, denominator, [value * scale for value in base], slope, bend)


def _ratios(shares: Sequence[float]) -> tuple[list[int], int]:
    """Return whole numbers in the shares' exact proportions, and their sum."""
    ratios = [float(share).as_integer_ratio() for share in shares]
    # Denominators are powers of two: the largest is a multiple of all.
    largest = max(denominator for _, denominator in ratios)
    parts = [numerator * (largest // denominator) for numerator, denominator in ratios]
    common = math.gcd(*parts)
    parts = [part // common for part in parts]
    return parts, sum(parts)
