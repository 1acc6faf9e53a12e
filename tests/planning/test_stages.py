"""Plans of mixes that change: shares and rates of every stage, groups, and what shows them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support import FAST

from marco.config import RunSettings, bind_all, compose
from marco.errors import ConfigError
from marco.planning.groups import groups_of
from marco.planning.options import PlanOptions
from marco.planning.plan import plan_of
from marco.planning.plot import plot_plan
from marco.planning.report import plan_tables
from marco.planning.stages import stages_of

SIZES = {"eng": 6000, "swh": 2000, "tha": 4000}
STAGES = (
    "mix=stages",
    "mix@mix.stages.stage1.mix=natural",
    "mix@mix.stages.stage2.mix=uniform",
    "mix.stages.stage1.tokens=0.02",
)


def run_of(*overrides: str) -> RunSettings:
    return bind_all(compose([*FAST, "tokens=409600", *overrides]))


def stages(run: RunSettings, total: int | None = None) -> list[dict[str, Any]]:
    schedule = run.mix.schedule(SIZES, run.tokens, run.batch.sequence_length)
    steps = run.steps(schedule.end)
    return stages_of(run, schedule, steps, steps * run.batch.tokens if total is None else total)


def test_a_short_stage_has_its_own_shares_and_rates() -> None:
    run = run_of(*STAGES)
    first, second = stages(run)
    assert (first["name"], second["name"]) == ("stage1", "stage2")
    assert (first["tokens"], second["tokens"]) == (8192, 409600 - 8192)
    assert first["steps"] + second["steps"] == 409600 // run.batch.tokens
    assert first["languages"]["eng"] == {"tokens": 4096, "share": pytest.approx(0.5)}
    assert second["shares"]["low"] == pytest.approx(2 / 3)
    assert len(first["learning_rate"]) == first["steps"]
    for stage, start in ((first, 0), (second, 8192)):
        curve = [point["tokens"] for point in stage["learning_rate"]]
        assert curve[0] == start == stage["mix"][0]["tokens"]
        assert curve[-1] == start + stage["tokens"] - run.batch.tokens
        assert stage["mix"][-1]["tokens"] == start + stage["tokens"]


def test_padding_is_spread_over_the_steps() -> None:
    run = run_of(*STAGES)
    found = stages(run, total=300_000)
    assert sum(stage["tokens"] for stage in found) == 300_000
    assert sum(stage["steps"] for stage in found) == 409600 // run.batch.tokens


def test_shares_that_move_are_a_curve_and_not_their_average() -> None:
    run = run_of("mix=linear", "mix@mix.points.start.mix=natural", "mix.points.end.at=0.5")
    (stage,) = stages(run)
    low = [(point["tokens"], point["shares"]["low"]) for point in stage["mix"]]
    assert [at for at, _ in low] == [0, 204800, 204800, 409600]
    assert [share for _, share in low] == pytest.approx([1 / 2, 2 / 3, 2 / 3, 2 / 3])
    assert stage["shares"]["low"] == pytest.approx((7 / 12 + 2 / 3) / 2)


def test_a_source_that_runs_out_ends_no_stage() -> None:
    run = run_of("mix.exhausted=redistribute", "mix.max_epochs=40", "tokens=327680")
    (stage,) = stages(run)
    assert stage["mix"][-1]["shares"] != stage["mix"][0]["shares"]
    assert stage["tokens"] == 327680


def test_a_mix_that_ends_within_the_first_step_is_an_error() -> None:
    run = run_of("mix.exhausted=stop", "mix.max_epochs=0.2", "batch.sequences=64")
    with pytest.raises(ConfigError, match="less than one global batch"):
        plan_of(run, PlanOptions(device="cpu"))


def test_groups_are_their_languages_together() -> None:
    quiet = {"repeats": 0, "fertility": None, "truncated": None, "fill": 1.0, "share": 0.25}
    swh = {**quiet, "tokens": 100, "size": 50, "repeats": 1, "fertility": 2.0, "fill": 0.5}
    tha = {**quiet, "tokens": 300, "size": 350, "fertility": 3.0}
    found = groups_of({"swh": swh, "tha": tha, "books": {**quiet, "tokens": 0, "size": 9}})
    assert list(found) == ["low", "books"]
    assert found["low"] == {
        "tokens": 400, "share": 0.5, "size": 400, "epochs": 1.0, "repeats": 1,
        "fertility": 2.75, "truncated": None, "fill": 400 / 500,
    }  # fmt: skip
    assert found["books"]["fertility"] is None
    assert found["books"]["fill"] == 1.0


def test_tables_and_plot_show_every_stage(tmp_path: Path) -> None:
    plan = plan_of(run_of(*STAGES, "mix.stages.stage1.tokens=64"), PlanOptions(device="cpu"))
    assert plan["stages"][0]["steps"] == 1
    paper = Console(width=80, file=io.StringIO())
    paper.print(plan_tables(plan))
    shown = paper.file.getvalue()
    assert "share in stage2" in shown
    assert "…" not in shown
    plot_plan(tmp_path / "plan.png", plan)
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
