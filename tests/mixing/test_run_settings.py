from __future__ import annotations

from typing import Any

import pytest

from marco.errors import ConfigError
from marco.mixing import (
    Groups,
    GroupShare,
    Linear,
    Natural,
    Point,
    Rule,
    Stage,
    Stages,
    Temperature,
    Uniform,
    UniMax,
    Weights,
)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling": "iidd"}, r"mix\.sampling=iidd: one of quota, iid\. Did you mean 'iid'"),
        ({"exhausted": "halt"}, r"mix\.exhausted=halt: one of repeat, redistribute, stop"),
        ({"max_epochs": 2.0}, r"mix\.max_epochs=2 has no effect with mix\.exhausted=repeat"),
        (
            {"max_epochs": 0.0, "exhausted": "stop"},
            r"mix\.max_epochs=0\.0: must be a number",
        ),
        ({"max_epochs": float("nan"), "exhausted": "stop"}, r"mix\.max_epochs=nan"),
    ],
)
def test_wrong_values(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Natural(**settings)
    for build in (
        lambda: Temperature(0.3, **settings),
        lambda: UniMax(1.0, **settings),
        lambda: Weights({"eng": 1.0}, **settings),
        lambda: Groups({"english": GroupShare(1.0)}, **settings),
        lambda: Stages({"a": Stage(Uniform())}, **settings),
        lambda: Linear({"a": Point(0.0, Uniform())}, **settings),
    ):
        with pytest.raises(ConfigError, match=message):
            build()


@pytest.mark.parametrize(
    ("inner", "key"),
    [
        (Uniform(sampling="iid"), "sampling=iid"),
        (Uniform(exhausted="stop"), "exhausted=stop"),
        (Uniform(exhausted="stop", max_epochs=2.0), "exhausted=stop"),
    ],
)
def test_only_the_root_has_them(inner: Rule, key: str) -> None:
    grouped = Groups({"english": GroupShare(1.0, within=inner)})
    staged = Stages({"one": Stage(grouped)})
    for rule, path in (
        (grouped, "groups.english.within"),
        (Stages({"one": Stage(inner)}), "stages.one.mix"),
        (Linear({"one": Point(0.0, inner)}), "points.one.mix"),
        (staged, "stages.one.mix.groups.english.within"),
    ):
        with pytest.raises(ConfigError) as caught:
            rule.check(["eng"])
        assert str(caught.value).startswith(f"mix.{path}.{key}: the whole run has one; set mix.")
        with pytest.raises(ConfigError, match="the whole run has one"):
            rule.schedule({"eng": 5}, 5)


def test_a_schedule_is_no_rule_inside_a_group() -> None:
    for inner in (Stages({"a": Stage(Uniform())}), Linear({"a": Point(0.0, Uniform())})):
        rule = Groups({"english": GroupShare(1.0, within=inner)})
        with pytest.raises(ConfigError, match=r"mix\.groups\.english\.within: .* is a schedule"):
            rule.check(["eng"])


def test_a_budget_is_above_zero() -> None:
    with pytest.raises(ConfigError, match="above 0 tokens, not 0"):
        Uniform().schedule({"eng": 1}, 0)


def test_limits_are_whole_sequences() -> None:
    rule = Uniform(exhausted="stop", max_epochs=1.5)
    # 1.5 × 70 = 105, of which 96 are three sequences of 32.
    assert rule.schedule({"eng": 70, "swh": 500}, 1000, 32).end == 192
    assert rule.schedule({"eng": 70, "swh": 500}, 1000).end == 210
    with pytest.raises(ConfigError, match="eng may not serve one sequence"):
        Uniform(exhausted="stop").schedule({"eng": 20, "swh": 500}, 1000, 32)
    # Under redistribute it has no share from the start.
    schedule = Uniform(exhausted="redistribute").schedule({"eng": 20, "swh": 500}, 400, 32)
    assert schedule.shares_at(0) == {"eng": 0.0, "swh": 1.0}
