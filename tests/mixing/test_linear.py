from __future__ import annotations

import math

import pytest

from marco.errors import ConfigError
from marco.mixing import Linear, Natural, Point, Stage, Stages, Uniform, UniMax, Weights

SIZES = {"eng": 900, "swh": 100}


def test_shares_move_in_straight_lines_and_stay_after_the_last_point() -> None:
    # Listed in any order.
    rule = Linear({"b": Point(0.5, Natural()), "a": Point(0.0, Uniform())})
    rule.check(list(SIZES))
    schedule = rule.schedule(SIZES, 1000)
    assert [segment.end for segment in schedule.segments] == [500, 1000]
    assert schedule.shares_at(0) == {"eng": 0.5, "swh": 0.5}
    assert schedule.shares_at(250) == pytest.approx({"eng": 0.7, "swh": 0.3})
    assert schedule.shares_at(750) == {"eng": 0.9, "swh": 0.1}
    assert rule.shares(SIZES, 1000) == pytest.approx({"eng": 0.8, "swh": 0.2})
    assert float(schedule.tokens("swh", 1000)) == pytest.approx(200)


def test_one_point_is_a_constant_mix_and_a_cap_is_on_the_whole_budget() -> None:
    rule = Linear({"only": Point(0.0, UniMax(1.0))})
    assert rule.schedule(SIZES, 1000).shares_at(0) == {"eng": 0.9, "swh": 0.1}
    with pytest.raises(ConfigError, match=r"mix\.points\.only\.mix\.epoch_cap=1: .* 1,001"):
        rule.schedule(SIZES, 1001)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({}, "empty"),
        ({"a": Point(0.1, Uniform())}, r"mix\.points\.a\.at=0\.1: the first point must be at 0"),
        ({"a": Point(0.0, Uniform()), "b": Point(1.5, Uniform())}, r"mix\.points\.b\.at=1\.5"),
        ({"a": Point(math.nan, Uniform())}, r"mix\.points\.a\.at=nan"),
        ({"a": Point(0.0, Uniform()), "b": Point(0.0, Natural())}, "a and b are both at 0.0"),
        (
            {"a": Point(0.0, Linear({"x": Point(0.0, Uniform())}))},
            r"mix\.points\.a\.mix: Linear is a schedule itself",
        ),
        (
            {"a": Point(0.0, Stages({"x": Stage(Uniform())}))},
            r"mix\.points\.a\.mix: Stages is a schedule itself",
        ),
    ],
)
def test_wrong_points(points: dict[str, Point], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Linear(points)


def test_points_on_one_token_are_refused() -> None:
    rule = Linear({"a": Point(0.0, Uniform()), "b": Point(0.01, Natural())})
    with pytest.raises(ConfigError, match="a and b are at the same token of tokens=50"):
        rule.check_budget(50)


def test_the_rules_of_points_are_checked() -> None:
    rule = Linear({"a": Point(0.0, Weights({"eng": 1.0}))})
    with pytest.raises(ConfigError, match=r"'\+mix\.points\.a\.mix\.table\.swh=…'"):
        rule.check(list(SIZES))
