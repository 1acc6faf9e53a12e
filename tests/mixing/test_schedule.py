from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixing.mixes import constant, exact, mixes, schedules

from marco.errors import ConfigError
from marco.mixing import MixSchedule, Segment


def due(schedule: MixSchedule, position: int) -> list[Fraction]:
    """What the definition says, segment by segment."""
    total = [Fraction(0)] * len(schedule.names)
    start = 0
    for segment in schedule.segments:
        length = segment.end - start
        n = max(0, min(position, segment.end) - start)
        first, last = exact(segment.first), exact(segment.last)
        for index, (a, b) in enumerate(zip(first, last, strict=True)):
            total[index] += a * n + (b - a) * n * n / (2 * length)
        start = segment.end
    after = exact(schedule.segments[-1].last)
    return [t + b * max(0, position - schedule.end) for t, b in zip(total, after, strict=True)]


@settings(deadline=None)
@given(schedule=schedules(), position=st.integers(0, 30_000))
def test_what_is_due_is_exact_and_adds_up(schedule: MixSchedule, position: int) -> None:
    tokens = [schedule.tokens(name, position) for name in schedule.names]
    assert tokens == due(schedule, position)
    assert sum(tokens) == position


@settings(deadline=None)
@given(schedule=schedules(), amount=st.integers(0, 25_000), choice=st.integers(0, 11))
def test_positions_are_the_inverse(schedule: MixSchedule, amount: int, choice: int) -> None:
    index = choice % len(schedule.names)
    name = schedule.names[index]
    first, last = schedule.first_position(index, amount), schedule.last_position(index, amount)
    far = 10**13
    if first is None:
        assert schedule.tokens(name, far) < amount
    else:
        assert schedule.tokens(name, first) >= amount
        assert first == 0 or schedule.tokens(name, first - 1) < amount
    if last is None:
        assert schedule.tokens(name, far) <= amount
    else:
        assert schedule.tokens(name, last) <= amount < schedule.tokens(name, last + 1)


def test_by_hand() -> None:
    first, last = {"eng": 1.0, "swh": 0.0}, {"eng": 0.5, "swh": 0.5}
    schedule = MixSchedule((Segment("a", 100, first, first), Segment("b", 300, first, last)))
    assert (schedule.end, schedule.names) == (300, ("eng", "swh"))
    assert schedule.shares_at(99) == first
    assert schedule.shares_at(200) == {"eng": 0.75, "swh": 0.25}
    assert schedule.shares_at(300) == schedule.shares_at(9999) == last
    assert [segment.name for segment in map(schedule.segment_at, (0, 99, 100, 300))] == list("aabb")
    # 0.5 × 200 / 2, and half of what follows.
    assert [schedule.tokens("swh", token) for token in (100, 200, 300, 400)] == [
        0,
        Fraction(25, 2),
        50,
        100,
    ]
    assert (schedule.last_position(1, 0), schedule.first_position(1, 50)) == (100, 300)


@settings(deadline=None)
@given(shares=mixes())
def test_a_rounded_sum_changes_nothing(shares: dict[str, float]) -> None:
    halved = {name: share * (1 - 2**-22) for name, share in shares.items()}
    name = next(iter(shares))
    # A factor of the form 1 - 2**-k rounds each share, by no more than its last digit.
    assert float(constant(halved).tokens(name, 10**6)) == pytest.approx(
        float(constant(shares).tokens(name, 10**6)), rel=1e-14, abs=1e-300
    )


@pytest.mark.parametrize(
    "shares", [{}, {"eng": 0.9}, {"eng": 1.5, "deu": -0.5}, {"eng": float("nan")}]
)
def test_shares_that_are_none(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="share"):
        constant(shares)


def test_segments_that_are_none() -> None:
    whole = {"eng": 1.0}
    with pytest.raises(ValueError, match="needs a segment"):
        MixSchedule(())
    with pytest.raises(ValueError, match="5 comes after 5"):
        MixSchedule((Segment("", 5, whole, whole), Segment("", 5, whole, whole)))
    with pytest.raises(ValueError, match="same sources"):
        MixSchedule((Segment("", 5, whole, {"deu": 1.0}),))
