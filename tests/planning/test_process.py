"""What the plan says of a CPU run's process, against a run of its own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from bench.plan_memory import measure
from marco.config import bind_all, compose
from marco.models.build import config_of
from marco.planning.process import FIGURES, GAPS, PRIMITIVE, Process, process_of

#: `udhr_tiny`'s model, text and batch: three steps and an evaluation of its own two tasks.
SHAPE = (
    "experiment=udhr_tiny",
    "evaluation=default",
    "tokens=6144",
    "evaluation.every_tokens=null",
    "evaluation.at_start=false",
    "logger=none",
)


def test_a_runs_peak_above_its_imports(tmp_path: Path) -> None:
    found = measure(SHAPE, tmp_path)
    assert found["baseline"] > 300e6  # the packages were imported
    assert found["planned"] == pytest.approx(found["above"], rel=0.15)


def test_evaluations_count_where_there_are_any() -> None:
    def parts(*overrides: str) -> Process:
        run = bind_all(compose(["experiment=udhr_tiny", *overrides]))
        found = process_of(run, config_of(run.model, 1000), 7, languages=29)
        assert found.gaps == (GAPS * 4 * 1024 * 96 if run.trainer.keep_pages else 0)
        assert found.total == sum(asdict(found).values()) > found.framework + found.text
        return found

    tasks, none = parts(), parts("evaluation=none", "trainer.keep_pages=false")
    default = parts("evaluation=default")
    unseen = parts("logger=none")
    unsampled = parts("evaluation=default", "callbacks.samples=null")
    assert tasks.products == 128 * PRIMITIVE > default.products == none.products
    assert tasks.tasks > default.tasks == none.tasks == 0
    assert tasks.identifier == default.identifier > unsampled.identifier == none.identifier == 0
    assert default.samples > unsampled.samples == none.samples == 0
    assert tasks.figures == default.figures == 29 * FIGURES > none.figures == unseen.figures == 0
