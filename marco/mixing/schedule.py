"""How the shares move over a run, and what every source is owed at each of its tokens."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from marco.errors import ConfigError
from marco.mixing.pieces import Piece, piece


@dataclass(frozen=True)
class Segment:
    """Tokens up to ``end`` of the run, in which every share moves linearly.

    Attributes:
        name: the stage; "" where the mix has no stages.
        end: tokens, exclusive, counted from the run's start.
        first: each source's share at the segment's start, zeros included; they add up to 1.
        last: each source's share at its end; equal to ``first`` where they are constant.
    """

    name: str
    end: int
    first: dict[str, float]
    last: dict[str, float]

    @property
    def constant(self) -> bool:
        """Whether the shares stay as they are."""
        return self.first == self.last


@dataclass(frozen=True)
class MixSchedule:
    """What each source is due: C_i(T) tokens in the first T tokens of the run.

    Shares are taken as exact ratios, normalised by their sum, so C_i is exact and they add up to T.
    In a segment of N tokens with shares from a to b it grows by ``a n + (b - a) n² / 2N`` in n
    tokens. After the last end its ``last`` shares go on for ever.

    Raises:
        ConfigError: shares that are none, or don't add up to 1 within 1e-6.
        ValueError: no segment, ends that don't rise, or segments of different sources.
    """

    segments: tuple[Segment, ...]
    _pieces: list[Piece] = field(init=False, repr=False, compare=False)
    # By source: whole tokens at each piece's start, rounded up, and end, rounded down.
    _opened: list[list[int]] = field(init=False, repr=False, compare=False)
    _filled: list[list[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the segments, and find where each source stands at their ends."""
        _check(self.segments)
        pieces = _pieces(self.segments)
        opened: list[list[int]] = [[] for _ in self.names]
        filled: list[list[int]] = [[] for _ in self.names]
        for index in range(len(self.names)):
            for each in pieces:
                opened[index].append(-(-each.base[index] // each.denominator))
                if each.length is not None:
                    end = each.scaled(index, each.length)
                    filled[index].append(end // each.denominator)
        for name, value in (("_pieces", pieces), ("_opened", opened), ("_filled", filled)):
            object.__setattr__(self, name, value)

    @property
    def names(self) -> tuple[str, ...]:
        """The sources; a source's place here is its index."""
        return tuple(self.segments[0].first)

    @property
    def end(self) -> int:
        """Tokens of the whole schedule."""
        return self.segments[-1].end

    @property
    def stages(self) -> tuple[tuple[str, int], ...]:
        """The stages by name, with the token at which each ends; none where nothing is named."""
        ends: dict[str, int] = {}
        for segment in self.segments:
            if segment.name:
                ends[segment.name] = segment.end
        return tuple(ends.items())

    def segment_at(self, token: int) -> Segment:
        """Return the segment that a token of the run is in; beyond the end, the last one."""
        return self.segments[self._number(token)]

    def shares_at(self, token: int) -> dict[str, float]:
        """Return each source's share at a token of the run."""
        number = self._number(token)
        segment = self.segments[number]
        if segment.constant or token >= segment.end:
            return dict(segment.last)
        start = self.segments[number - 1].end if number else 0
        part = (token - start) / (segment.end - start)
        return between(segment.first, segment.last, part)

    def tokens(self, source: str, position: int) -> Fraction:
        """Return C_i: the exact tokens due to a source in the first ``position`` tokens."""
        index = self.names.index(source)
        number = bisect_right(self._pieces, position, key=lambda each: each.start) - 1
        found = self._pieces[number]
        return Fraction(found.scaled(index, position - found.start), found.denominator)

    def first_position(self, index: int, amount: int) -> int | None:
        """Return the least T at which a source is due ``amount`` tokens or more; None: never."""
        found = self._pieces[bisect_left(self._filled[index], amount)]
        n = found.least(index, amount)
        return None if n is None else found.start + n

    def last_position(self, index: int, amount: int) -> int | None:
        """Return the greatest T at which a source is due no more than ``amount`` (0 or above).

        None: it never is due more.
        """
        found = self._pieces[bisect_right(self._opened[index], amount) - 1]
        n = found.greatest(index, amount)
        return None if n is None else found.start + n

    def _number(self, token: int) -> int:
        number = bisect_right(self.segments, token, key=lambda segment: segment.end)
        return min(number, len(self.segments) - 1)


def normalised(weights: Mapping[str, float]) -> dict[str, float]:
    """Divide by the sum. ``math.fsum`` rounds once, so the order of the keys changes nothing."""
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def between(first: dict[str, float], last: dict[str, float], part: float) -> dict[str, float]:
    """Return the shares at ``part`` (0 to 1) of the way from ``first`` to ``last``."""
    return {name: share * (1 - part) + last[name] * part for name, share in first.items()}


def average(segments: Sequence[Segment], start: int = 0) -> dict[str, float]:
    """Return each source's share of all tokens from ``start`` to the last end, adding up to 1."""
    starts = [start, *(segment.end for segment in segments[:-1])]
    whole = segments[-1].end - start
    return {
        name: math.fsum(
            (segment.first[name] + segment.last[name]) / 2 * ((segment.end - begin) / whole)
            for begin, segment in zip(starts, segments, strict=True)
        )
        for name in segments[0].first
    }


def _pieces(segments: tuple[Segment, ...]) -> list[Piece]:
    """Return the segments as pieces; the last one goes on for ever."""
    names = list(segments[0].first)
    totals = ([0] * len(names), 1)
    start = 0
    pieces: list[Piece] = []
    for segment in segments:
        first = [segment.first[name] for name in names]
        last = [segment.last[name] for name in names]
        length = segment.end - start
        endless = segment is segments[-1]
        if endless and segment.constant:
            return [*pieces, piece(start, None, first, first, totals)]
        pieces.append(piece(start, length, first, last, totals))
        totals = pieces[-1].totals(length)
        start = segment.end
    return [*pieces, piece(start, None, last, last, totals)]


def _check(segments: tuple[Segment, ...]) -> None:
    if not segments:
        raise ValueError("a schedule needs a segment")
    start = 0
    for segment in segments:
        if segment.end <= start:
            raise ValueError(f"segments must have rising ends: {segment.end} comes after {start}")
        start = segment.end
        for shares in (segment.first, segment.last):
            if set(shares) != set(segments[0].first):
                raise ValueError("all segments must name the same sources")
            for name, share in shares.items():
                if not (math.isfinite(share) and share >= 0):
                    raise ConfigError(f"mix: '{name}' has share {share}; a share is from 0 to 1")
            if abs(math.fsum(shares.values()) - 1) > 1e-6:
                total = math.fsum(shares.values())
                raise ConfigError(f"mix: shares add up to {total}, not to 1")
