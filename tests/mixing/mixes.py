"""Random mixes and schedules, and a plain implementation of the order to compare with."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from fractions import Fraction

from hypothesis import strategies as st

from marco.errors import ConfigError
from marco.mixing import MixSchedule, Segment
from marco.mixing.order import hashed


def constant(shares: dict[str, float], end: int = 1000) -> MixSchedule:
    return MixSchedule((Segment("", end, shares, shares),))


@st.composite
def mixes(draw: st.DrawFn, sources: int | None = None) -> dict[str, float]:
    """Shares of 1 to 40 sources over many orders of magnitude, some of them zero."""
    magnitude = st.one_of(st.just(0.0), st.floats(1e-7, 1.0), st.sampled_from([0.01, 0.5, 1.0]))
    least, most = (1, 40) if sources is None else (sources, sources)
    weights = draw(st.lists(magnitude, min_size=least, max_size=most))
    weights[draw(st.integers(0, len(weights) - 1))] = 1.0
    total = sum(weights)
    return {f"source{index}": weight / total for index, weight in enumerate(weights)}


@st.composite
def schedules(draw: st.DrawFn, end: int | None = None) -> MixSchedule:
    """One to four segments, constant or linear, of the same sources."""
    sources = draw(st.integers(1, 12))
    count = draw(st.integers(1, 4))
    ends = sorted(
        draw(st.lists(st.integers(1, 20_000), min_size=count, max_size=count, unique=True))
    )
    if end is not None:
        ends = sorted({max(1, each * end // 20_000) for each in ends} | {end})
    segments = []
    for token in ends:
        first = draw(mixes(sources))
        last = draw(mixes(sources)) if draw(st.booleans()) else first
        segments.append(Segment("", token, first, last))
    return MixSchedule(tuple(segments))


def exact(shares: dict[str, float]) -> list[Fraction]:
    parts = [Fraction(share) for share in shares.values()]
    return [part / sum(parts) for part in parts]


def within(schedule: MixSchedule, tokens: list[int], length: int) -> bool:
    """Whether every source is less than a sequence from what is due to it."""
    position = sum(tokens)
    return all(
        abs(served - schedule.tokens(name, position)) < length
        for name, served in zip(schedule.names, tokens, strict=True)
    )


def outcome(make: Callable[[], MixSchedule]) -> tuple[MixSchedule | None, str]:
    """What is made, or the message with which it was refused."""
    try:
        return make(), ""
    except ConfigError as error:
        return None, str(error)


def naive_order(shares: dict[str, float], count: int) -> list[int]:
    """Pfair in sequences, straight from its definition: the reference for constant shares."""
    wanted = exact(shares)
    names = list(shares)
    served = [0] * len(names)
    order = []
    for step in range(count):
        open_windows = [
            (
                -(-(served[i] + 1) // share),
                hashed((zlib.crc32(names[i].encode()) << 32) + served[i]),
                names[i],
                i,
            )
            for i, share in enumerate(wanted)
            if share > 0 and served[i] // share <= step
        ]
        index = min(open_windows)[-1]
        served[index] += 1
        order.append(index)
    return order
