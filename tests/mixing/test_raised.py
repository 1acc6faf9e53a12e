from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.mixing import MixSchedule, Segment
from marco.mixing.raised import Raise, raised

START = {"eng": 0.2, "cmn": 0.0, "swh": 0.5, "tha": 0.3}
END = {"eng": 0.1, "cmn": 0.1, "swh": 0.2, "tha": 0.6}
CONSTANT = MixSchedule((Segment("a", 1000, START, START),))


def test_the_others_give_in_proportion() -> None:
    found = raised(CONSTANT, [Raise(400, ("eng",), 0.1)])
    assert found.shares_at(0) == found.shares_at(399) == START
    assert found.shares_at(400) == pytest.approx(
        {"eng": 0.3, "cmn": 0.0, "swh": 0.5 * 0.875, "tha": 0.3 * 0.875}
    )
    assert [float(found.tokens("eng", at)) for at in (400, 1000)] == pytest.approx([80, 260])


def test_those_without_a_share_get_equal_ones() -> None:
    found = raised(CONSTANT, [Raise(0, ("cmn",), 0.25)])
    assert found.shares_at(0)["cmn"] == pytest.approx(0.25)
    assert found.shares_at(0)["swh"] == pytest.approx(0.375)


def test_there_is_no_more_than_everything() -> None:
    found = raised(CONSTANT, [Raise(500, ("swh", "tha"), 0.9)])
    assert found.shares_at(500) == pytest.approx({"eng": 0, "cmn": 0, "swh": 0.625, "tha": 0.375})


def test_a_second_change_adds_to_the_first() -> None:
    found = raised(CONSTANT, [Raise(200, ("eng",), 0.1), Raise(600, ("eng",), 0.1)])
    shares = [found.shares_at(at)["eng"] for at in (0, 200, 600)]
    assert shares == pytest.approx([0.2, 0.3, 0.4])


@given(
    at=st.integers(0, 2200),
    share=st.floats(0.01, 0.5),
    sources=st.sets(st.sampled_from(list(START)), min_size=1, max_size=3),
)
def test_what_was_served_before_stays(at: int, share: float, sources: set[str]) -> None:
    schedule = MixSchedule((Segment("a", 900, START, END), Segment("b", 2000, END, START)))
    found = raised(schedule, [Raise(at, tuple(sorted(sources)), share)])
    assert found.end == schedule.end
    for position in (at // 2, min(at, 2000)):
        for name in START:
            assert float(found.tokens(name, position)) == pytest.approx(
                float(schedule.tokens(name, position)), abs=1e-6
            )
    for position in (min(at, 1999), 1999):
        if position >= at:
            before, after = schedule.shares_at(position), found.shares_at(position)
            assert sum(after.values()) == pytest.approx(1)
            gained = sum(after[name] - before[name] for name in sources)
            rest = sum(before[name] for name in set(START) - sources)
            assert gained == pytest.approx(min(share, rest), abs=2e-3)
