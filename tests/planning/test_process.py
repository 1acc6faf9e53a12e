"""What the plan says of a CPU run's process, against a run of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.plan_memory import measure
from marco.config import bind_all, compose
from marco.models.build import config_of
from marco.planning.process import FIGURES, GAPS, PRIMITIVE, process_of

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
    def parts(*overrides: str) -> tuple[int, int, int]:
        run = bind_all(compose(["experiment=udhr_tiny", *overrides]))
        found = process_of(run, config_of(run.model, 1000), 7, languages=29)
        assert found.gaps == (GAPS * 4 * 1024 * 96 if run.trainer.keep_pages else 0)
        always = found.step + found.gaps + found.framework + found.text
        assert found.total == always + found.products + found.tasks + found.figures
        return found.products, found.tasks, found.figures

    tasks, none = parts(), parts("evaluation=none", "trainer.keep_pages=false")
    default = parts("evaluation=default")
    unseen = parts("logger=none")
    assert tasks[0] == 128 * PRIMITIVE > default[0] == none[0]
    assert tasks[1] > default[1] == none[1] == 0
    assert tasks[2] == default[2] == 29 * FIGURES > none[2] == unseen[2] == 0
