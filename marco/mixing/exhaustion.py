"""What becomes of a schedule when sources run out: their shares go to others, or the run ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from marco.errors import ConfigError
from marco.mixing.pieces import Piece, piece
from marco.mixing.schedule import MixSchedule, Segment, between, normalised

Policy = Literal["repeat", "redistribute", "stop"]
Totals = tuple[list[int], int]


def exhausted(schedule: MixSchedule, limits: Mapping[str, int], policy: Policy) -> MixSchedule:
    """Return ``schedule`` changed so that no source is due more than its limit before the end.

    Under ``redistribute`` a source stops at the last token at which it is due no more than its
    limit, and from there the others of that segment have its share, in proportion to their own
    (while shares move: in proportion at both ends). Under ``stop`` the schedule ends there.
    ``repeat`` changes nothing.

    So a source ends less than a token below its limit. A :class:`QuotaOrder` serves an exhausted
    source its limit exactly where that is a whole number of sequences of one size (and sources
    are no more than tokens in a sequence, else perhaps one less); never more. Where it is not, or
    where sequences differ in size, it may pass the limit by less than a sequence.

    Args:
        schedule: what is wanted.
        limits: tokens, per source; a source that is absent has no limit.
        policy: ``repeat``, ``redistribute`` or ``stop``.

    Raises:
        ConfigError: nothing is left that could be served, before the schedule ends; says when.
    """
    if policy == "repeat":
        return schedule
    names = schedule.names
    gone: set[str] = set()
    result: list[Segment] = []
    totals: Totals = ([0] * len(names), 1)
    start = 0
    for segment in schedule.segments:
        rest = _listed(segment, names)
        while start < segment.end:
            shares = _without(rest, gone, start, schedule)
            found = _cut(shares, start, limits, totals)
            if found.length:
                result.append(found.segment)
            if found.exhausted and policy == "stop":
                return _stopped(result, found.exhausted)
            gone |= found.exhausted
            moved = found.length / (segment.end - start)
            totals, start = found.totals, start + found.length
            if not segment.constant:
                rest = replace(rest, first=between(rest.first, rest.last, moved))
    return MixSchedule(tuple(result))


@dataclass(frozen=True)
class _Cut:
    """The rest of a segment up to where the first source runs out, or all of it."""

    segment: Segment
    length: int
    totals: Totals
    exhausted: set[str]


def _cut(segment: Segment, start: int, limits: Mapping[str, int], totals: Totals) -> _Cut:
    """End a segment, which begins at ``start``, where the first source reaches its limit."""
    whole = _piece(segment, start, totals)
    room = segment.end - start
    limited = [
        (index, name)
        for index, name in enumerate(segment.first)
        if name in limits and segment.first[name] + segment.last[name] > 0
    ]
    last = {name: whole.greatest(index, limits[name]) for index, name in limited}
    reached = {name: n for name, n in last.items() if n is not None}
    if not reached:
        return _Cut(segment, room, whole.totals(room), set())
    length = min(reached.values())
    ended = {name for name, n in reached.items() if n == length}
    if segment.constant:
        return _Cut(replace(segment, end=start + length), length, whole.totals(length), ended)
    while length:
        moved = between(segment.first, segment.last, length / room)
        part = replace(segment, end=start + length, last=moved)
        after = _piece(part, start, totals).totals(length)
        # A share in mid-move is rounded: that must not lift anything over its limit.
        if all(after[0][index] <= limits[name] * after[1] for index, name in limited):
            return _Cut(part, length, after, ended)
        length -= 1
    return _Cut(segment, 0, totals, ended)


def _piece(segment: Segment, start: int, totals: Totals) -> Piece:
    first, last = list(segment.first.values()), list(segment.last.values())
    return piece(start, segment.end - start, first, last, totals)


def _listed(segment: Segment, names: Sequence[str]) -> Segment:
    first = {name: segment.first[name] for name in names}
    return replace(segment, first=first, last={name: segment.last[name] for name in names})


def _without(segment: Segment, gone: set[str], start: int, schedule: MixSchedule) -> Segment:
    """Share out what sources that are gone would have had in a segment."""
    if not gone:
        return segment
    sides = []
    for side in (segment.first, segment.last):
        left = {name: 0.0 if name in gone else share for name, share in side.items()}
        if any(left.values()):
            sides.append(_exact(left))
    if not sides:
        raise ConfigError(
            f"mix.exhausted=redistribute: every source{_room(segment.name, start, schedule)} "
            "tokens. Lower that, raise mix.max_epochs, or set mix.exhausted=repeat"
        )
    return replace(segment, first=sides[0], last=sides[-1])


def _room(stage: str, token: int, schedule: MixSchedule) -> str:
    """Say what is used up at a token, and how much would have fitted."""
    used = f"is used up after {token:,} of {schedule.end:,} tokens"
    if not stage:
        return f" {used}; the largest budget that fits is {token:,}"
    ends = [segment.end for segment in schedule.segments]
    starts = zip(schedule.segments, [0, *ends], strict=False)
    begin = next(start for segment, start in starts if segment.name == stage)
    return f" of stage '{stage}' {used}; the most that fits into it is {token - begin:,}"


def _exact(weights: dict[str, float]) -> dict[str, float]:
    """Return shares in proportion that add up to exactly 1, in parts of 2**-53, or are all equal.

    So the denominators of a schedule don't grow with each of hundreds of sources that run out. The
    rounding, less than a part for each source, goes to the largest.
    """
    shares = normalised(weights)
    if len({share for share in shares.values() if share}) == 1:
        return shares
    parts = {name: int(share * 2**53) for name, share in shares.items()}
    largest = max(parts, key=lambda name: (parts[name], name))
    parts[largest] += 2**53 - sum(parts.values())
    return {name: part / 2**53 for name, part in parts.items()}


def _stopped(result: list[Segment], exhausted: set[str]) -> MixSchedule:
    if not result:
        raise ConfigError(
            f"mix.exhausted=stop: {', '.join(sorted(exhausted))} may not serve one sequence; "
            "raise mix.max_epochs, or give it more text"
        )
    return MixSchedule(tuple(result))
