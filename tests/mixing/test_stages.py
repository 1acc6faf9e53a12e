from __future__ import annotations

import math
from typing import Any

import pytest

from marco.errors import ConfigError
from marco.mixing import (
    Groups,
    GroupShare,
    Linear,
    Natural,
    Point,
    QuotaOrder,
    Stage,
    Stages,
    Uniform,
    UniMax,
    Weights,
)

SIZES = {"eng": 900, "cmn": 500, "swh": 100, "eng_books": 300}


def ends(rule: Stages, budget: int) -> list[tuple[str, int]]:
    return [(each.name, each.end) for each in rule.schedule(SIZES, budget).segments]


def test_stages_follow_each_other() -> None:
    rule = Stages({"a": Stage(Uniform(), 600), "b": Stage(Natural(), 400)})
    rule.check(list(SIZES))
    assert ends(rule, 1000) == [("a", 600), ("b", 1000)]
    schedule = rule.schedule(SIZES, 1000)
    assert schedule.shares_at(599)["eng"] == 0.25
    assert schedule.shares_at(600) == pytest.approx({k: v / 1800 for k, v in SIZES.items()})
    assert rule.shares(SIZES, 1000)["eng"] == pytest.approx(0.6 * 0.25 + 0.4 * 0.5)


def test_tokens_are_whole_numbers_fractions_or_what_is_left() -> None:
    one = Uniform()
    rule = Stages({"a": Stage(one, 0.3), "b": Stage(one), "c": Stage(one, 0.1)})
    assert ends(rule, 1000) == [("a", 300), ("b", 900), ("c", 1000)]
    assert ends(rule, 2000) == [("a", 600), ("b", 1800), ("c", 2000)]
    mixed = Stages({"a": Stage(one, 700), "b": Stage(one, 0.3)})
    assert ends(mixed, 1000) == [("a", 700), ("b", 1000)]
    third = Stages(dict.fromkeys("abc", Stage(one, 0.333333)))
    assert ends(third, 3_000_000) == [("a", 999_999), ("b", 1_999_998), ("c", 3_000_000)]


def test_tokens_that_do_not_fill_the_budget() -> None:
    rule = Stages({"a": Stage(Uniform(), 600), "b": Stage(Uniform(), 400)})
    for budget in (999, 1001):
        with pytest.raises(ConfigError, match=r"together 1,000 tokens, but .* tokens=(999|1,001)"):
            rule.check_budget(budget)
    with pytest.raises(ConfigError, match="together 900 tokens"):
        Stages({"a": Stage(Uniform(), 0.5), "b": Stage(Uniform(), 0.4)}).schedule(SIZES, 1000)
    with pytest.raises(ConfigError, match=r"mix\.stages\.b: nothing of tokens=600 is left"):
        Stages({"a": Stage(Uniform(), 600), "b": Stage(Uniform())}).check_budget(600)


def test_a_raised_budget_makes_the_open_stage_longer_and_the_order_goes_on() -> None:
    rule = Stages({"a": Stage(Uniform(), 640), "b": Stage(Natural())})
    before = QuotaOrder(rule.schedule(SIZES, 1280), 16)
    before.take(80)
    longer = rule.schedule(SIZES, 6400)
    after, whole = QuotaOrder(longer, 16), QuotaOrder(longer, 16)
    after.load_state_dict(before.state_dict())
    whole.take(80)
    assert after.take(300) == whole.take(300)


def test_a_source_is_swapped_mid_run_under_any_name() -> None:
    rule = Stages(
        {
            "web": Stage(Uniform(), 0.5, sources=["English", "Swahili", "zh"]),
            "books": Stage(Uniform(), 0.5, sources=["eng_books", "low"]),
        }
    )
    rule.check(list(SIZES))
    schedule = rule.schedule(SIZES, 1200)
    assert schedule.shares_at(0)["eng_books"] == 0
    assert schedule.shares_at(600) == {"eng": 0, "cmn": 0, "swh": 0.5, "eng_books": 0.5}
    order = QuotaOrder(schedule, 12)
    order.take(50)
    assert order.draws[3] == 0
    order.take(50)
    assert order.tokens[3] == 300
    assert rule.notes(SIZES) == []
    short = Stages({"web": Stage(Uniform(), 1.0, sources=["eng", "swh"])})
    assert short.notes(SIZES) == ["mix.stages: no stage uses cmn, eng_books"]


def test_replay_mixes_an_earlier_stage_in() -> None:
    rule = Stages(
        {
            "base": Stage(Weights({"eng": 1, "cmn": 0}), 0.25, sources=["eng", "cmn"]),
            "chinese": Stage(Uniform(), 0.25, sources=["cmn"], replay=0.2),
            "new": Stage(Uniform(), 0.25, sources=["swh"], replay=0.5),
            "last": Stage(Uniform(), 0.25, sources=["swh"], replay=0.5, replay_of="base"),
        }
    )
    schedule = rule.schedule(SIZES, 1000)
    shares = [schedule.shares_at(token) for token in (0, 250, 500, 750)]
    assert shares[1] == pytest.approx({"eng": 0.2, "cmn": 0.8, "swh": 0, "eng_books": 0})
    assert shares[2] == pytest.approx({"eng": 0.1, "cmn": 0.4, "swh": 0.5, "eng_books": 0})
    assert shares[3] == pytest.approx({"eng": 0.5, "cmn": 0.0, "swh": 0.5, "eng_books": 0})


def test_a_stage_may_move_and_its_replay_is_of_the_average() -> None:
    moving = Linear({"x": Point(0.0, Uniform()), "y": Point(0.5, Weights({"eng": 1, "swh": 0}))})
    rule = Stages(
        {
            "move": Stage(moving, 0.5, sources=["eng", "swh"]),
            "decay": Stage(UniMax(1.0), 0.5, sources=["cmn"], replay=0.4),
        }
    )
    schedule = rule.schedule(SIZES, 800)
    assert [segment.name for segment in schedule.segments] == ["move", "move", "decay"]
    assert schedule.shares_at(100)["eng"] == pytest.approx(0.75)
    # On average eng has 0.75 in the first half of the stage and all of the second.
    assert schedule.shares_at(500)["eng"] == pytest.approx(0.4 * 0.875)
    nested = Stages({"out": Stage(Stages({"in": Stage(Uniform())}))})
    assert nested.schedule(SIZES, 10).segments[0].name == "out.in"


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"tokens": 0}, r"mix\.stages\.b\.tokens=0"),
        ({"tokens": 1.5}, r"tokens=1\.5: .* at most 1\.0; for tokens write 1"),
        ({"tokens": math.nan}, r"tokens=nan"),
        ({"tokens": 0.0}, r"tokens=0\.0"),
        ({"sources": []}, r"sources=\[\]"),
        ({"replay": 1.5}, r"replay=1\.5: must be from 0 to 1"),
        ({"replay": 0.1, "replay_of": "aa"}, r"replay_of=aa: .*Did you mean 'a'"),
        ({"replay_of": "a"}, r"replay_of=a needs mix\.stages\.b\.replay"),
    ],
)
def test_wrong_stages(stage: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Stages({"a": Stage(Uniform(), 1), "b": Stage(Uniform(), **stage)})


def test_wrong_lists_of_stages() -> None:
    with pytest.raises(ConfigError, match="empty"):
        Stages({})
    with pytest.raises(ConfigError, match="a and b have no tokens"):
        Stages({"a": Stage(Uniform()), "b": Stage(Uniform())})
    with pytest.raises(ConfigError, match="the first stage has none before it"):
        Stages({"a": Stage(Uniform(), replay=0.1)})


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["Swahilli"], r"mix\.stages\.a\.sources: .*Did you mean 'Swahili'"),
        (["yor"], r"mix\.stages\.a\.sources: the data has nothing for 'yor'"),
        (["high"], "nothing for 'high'"),
        (["en", "eng"], "'en' and 'eng' both name eng"),
        (["low", "swh"], "'low' and 'swh' both name swh"),
    ],
)
def test_wrong_sources(sources: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Stages({"a": Stage(Uniform(), sources=sources)}).check(list(SIZES))


def test_a_stages_rule_is_checked_against_its_sources() -> None:
    rule = Stages({"a": Stage(Weights({"eng": 1.0}), sources=["eng", "swh"])})
    with pytest.raises(ConfigError, match=r"'\+mix\.stages\.a\.mix\.table\.swh="):
        rule.check(list(SIZES))
    groups = Groups({"all": GroupShare(1.0, ["eng"], Weights({"deu": 1.0}))})
    with pytest.raises(ConfigError, match=r"mix\.stages\.a\.mix\.groups\.all\.within\.table"):
        Stages({"a": Stage(groups, sources=["eng"])}).check(list(SIZES))
