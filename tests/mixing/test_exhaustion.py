from __future__ import annotations

import math
import re

import pytest
from mixing.mixes import constant

from marco.errors import ConfigError
from marco.mixing import (
    Linear,
    MixSchedule,
    Natural,
    Point,
    Segment,
    Stage,
    Stages,
    Temperature,
    Uniform,
    UniMax,
    Weights,
    exhausted,
)

THREE = {"eng": 0.5, "swh": 0.3, "yor": 0.2}


def test_a_share_goes_to_the_others_in_proportion_at_that_token() -> None:
    shares = {"eng": 0.5, "swh": 0.25, "yor": 0.25}
    limits = {"eng": 9000, "swh": 9000, "yor": 125}
    final = exhausted(constant(shares, 2000), limits, "redistribute")
    assert [segment.end for segment in final.segments] == [500, 2000]
    assert final.shares_at(499) == shares
    assert final.shares_at(500) == pytest.approx({"eng": 2 / 3, "swh": 1 / 3, "yor": 0})
    assert final.tokens("yor", 2000) == 125
    assert float(final.tokens("eng", 2000)) == pytest.approx(250 + 1000)
    # Where the limit falls between two tokens, the one before it.
    limits["yor"] = 126
    final = exhausted(constant(shares, 2001), limits, "redistribute")
    assert [segment.end for segment in final.segments] == [504, 2001]
    limits["yor"] = 100
    assert exhausted(constant(THREE), limits, "redistribute").segments[0].end == 499


def test_several_run_out_and_the_last_takes_all() -> None:
    final = exhausted(constant(THREE, 2000), {"swh": 150, "yor": 100}, "redistribute")
    # Both at 500 but for the floats; then eng alone.
    assert final.shares_at(600) == {"eng": 1.0, "swh": 0.0, "yor": 0.0}
    assert float(final.tokens("eng", 2000)) == pytest.approx(1750, abs=2)


def test_stop_and_repeat() -> None:
    planned = constant(THREE, 2000)
    limits = {"eng": 9000, "swh": 90, "yor": 100}
    assert exhausted(planned, limits, "repeat") is planned
    stopped = exhausted(planned, limits, "stop")
    assert stopped.end == 300
    assert stopped.shares_at(299) == THREE
    assert exhausted(planned, {"swh": 601}, "stop").end == 2000
    with pytest.raises(ConfigError, match=r"mix\.exhausted=stop: yor may not serve one sequence"):
        exhausted(planned, {"yor": 0}, "stop")


def test_the_largest_budget_that_the_error_names_fits() -> None:
    sizes = {"eng": 1000, "swh": 100, "yor": 77}
    rule = Temperature(0.3, exhausted="redistribute", max_epochs=2.0)
    with pytest.raises(ConfigError, match=r"every source is used up after .* of 5,000") as caught:
        rule.schedule(sizes, 5000)
    found = re.search(r"largest budget that fits is ([\d,]+)", str(caught.value))
    assert found is not None
    budget = int(found[1].replace(",", ""))
    assert 2 * sum(sizes.values()) - 3 <= budget <= 2 * sum(sizes.values())
    assert rule.schedule(sizes, budget).end == budget
    with pytest.raises(ConfigError, match="every source is used up"):
        rule.schedule(sizes, budget + 1)


def test_a_stage_whose_sources_are_used_up_is_named() -> None:
    rule = Stages(
        {"one": Stage(Uniform(), 500), "two": Stage(Uniform(), 500, sources=["swh"])},
        exhausted="redistribute",
    )
    with pytest.raises(ConfigError, match=r"stage 'two' is used up after .* fits into it is 50 "):
        rule.schedule({"eng": 1000, "swh": 300}, 1000)


def test_moving_shares_stop_at_the_limit() -> None:
    rule = Linear(
        {"start": Point(0.0, Weights({"eng": 9, "swh": 1})), "end": Point(1.0, Uniform())},
        exhausted="redistribute",
    )
    schedule = rule.schedule({"eng": 9000, "swh": 1000}, 9000)
    assert 998 < schedule.tokens("swh", 9000) <= 1000
    assert schedule.shares_at(8999) == {"eng": 1.0, "swh": 0.0}
    (note,) = rule.notes({"eng": 9000, "swh": 1000}, 9000)
    assert note.startswith("mix: swh used up after ")
    assert note.endswith("the largest now are: eng 100.0%")


def test_hundreds_of_sources_run_out_without_the_numbers_growing() -> None:
    sizes = {f"s{index:03}": 1000 * (index + 1) + index * index for index in range(150)}
    rule = Temperature(0.3, exhausted="redistribute")
    schedule = rule.schedule(sizes, int(sum(sizes.values()) * 0.9), 128)
    assert len(schedule.segments) > 60
    assert schedule.tokens("s149", schedule.end).denominator.bit_length() < 200
    assert math.fsum(schedule.segments[-1].first.values()) == 1


def test_notes_say_who_runs_out_and_what_the_shares_are_then() -> None:
    sizes = {"eng": 1000, "swh": 100, "yor": 100}
    rule = Weights({"eng": 6, "swh": 1, "yor": 1}, exhausted="redistribute")
    notes = rule.notes(sizes, 1000, 10)
    assert notes[0].startswith("mix: swh, yor used up after 800 tokens; ")
    assert "the largest now are: eng 100.0%" in notes[-1]
    assert rule.notes(sizes) == []
    stops = Uniform(exhausted="stop", max_epochs=0.5)
    assert stops.schedule(sizes, 1000).end == 150
    (note,) = stops.notes(sizes, 1000)
    assert note == "mix: swh is used up after 150 tokens, and the run ends there, not after 1,000"
    assert Uniform().notes(sizes, 1000) == []


def test_unimax_keeps_its_own_cap() -> None:
    sizes = {"eng": 1000, "swh": 100}
    schedule = UniMax(2.0, exhausted="redistribute", max_epochs=2.0).schedule(sizes, 1000)
    assert float(schedule.tokens("swh", 1000)) == pytest.approx(200, abs=1)
    assert float(Natural().schedule(sizes, 5000).tokens("swh", 5000)) == pytest.approx(5000 / 11)


def test_a_linear_segment_in_which_only_the_exhausted_had_a_share_at_the_end() -> None:
    first, last = {"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 0.0}
    planned = MixSchedule((Segment("", 1000, first, last),))
    final = exhausted(planned, {"a": 300}, "redistribute")
    assert final.shares_at(999) == {"a": 0.0, "b": 1.0}
