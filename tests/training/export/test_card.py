"""What a model card says of runs that followed each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marco.evaluation.history import Evaluation
from marco.evaluation.results.aggregates import aggregate_all
from marco.evaluation.rows import Row
from marco.training.export.card import Card
from marco.training.export.lineage import Lineage, Served, Stage

CONFIG: dict[str, Any] = {
    "batch": {"sequence_length": 256, "sequences": 8},
    "optimizer": {"lr": 1e-5},
    "schedule": {"_target_": "marco.training.schedules.WarmupCosine"},
    "mix": {"_target_": "marco.mixing.Uniform", "max_epochs": None},
}


def row(language: str, value: float, low: float | None, high: float | None) -> Row:
    return Row("likelihood", language, "low", "bits_per_byte", value, 5, low, high, stderr=0.1)


def stage(number: int, source: str | None, served: dict[str, Served], start: float) -> Stage:
    return Stage(
        Path(f"/home/me/runs/x/{number}"),
        f"x/{number}",
        CONFIG,
        [f"model.path='{source}'", "mix=uniform", "logger=none", "paths.runs=/home/me/runs"],
        source,
        10,
        sum(each.tokens for each in served.values()),
        served,
        [
            Evaluation(
                0, 0, (row("eng", start, start - 0.1, start + 0.1), row("swh", 4.0, None, None))
            )
        ],
    )


def card(lineage: Lineage, rows: list[Row]) -> str:
    made = Card(
        title="mine",
        architecture="Qwen2",
        parameters=1234,
        lineage=lineage,
        merged=None,
        rows=rows,
        aggregates=aggregate_all(rows, {}),
        anchors=["eng", "cmn"],
        command="marco export STAGE_2",
        version="0.1.0",
    )
    return made.text()


@pytest.fixture
def two_stages() -> Lineage:
    first = stage(1, "Qwen/Qwen2-7B", {"eng": Served(3000, 0.5), "swh": Served(1000, 2.0)}, 1.0)
    second = stage(2, "/home/me/runs/x/1", {"swh": Served(4000, None)}, 9.0)
    return Lineage("Qwen/Qwen2-7B", (first, second))


def test_retention_is_against_the_weights_it_all_started_from(two_stages: Lineage) -> None:
    text = card(two_stages, [row("eng", 1.05, 0.95, 1.15), row("swh", 2.0, 1.9, 2.1)])
    line = "| English (eng) | likelihood | bits_per_byte ↓ | 1.000 [0.900, 1.100] |"
    assert f"{line} 1.050 [0.950, 1.150] | +5.0% |" in text
    assert "Before is Qwen/Qwen2-7B" in text
    assert "| Swahili (swh) | likelihood |" not in text


def test_the_ledger_is_of_all_stages(two_stages: Lineage) -> None:
    text = card(two_stages, [])
    assert "| English (eng) | 3,000 | 37.5% | 0.50 | 0.00 |" in text
    assert "| Swahili (swh) | 5,000 | 62.5% | 2.00 | – |" in text
    assert "8,000 tokens of 2 languages" in text
    assert "base_model: Qwen/Qwen2-7B" in text


def test_the_commands_name_stages_and_no_place_of_this_machine(two_stages: Lineage) -> None:
    text = card(two_stages, [])
    assert "python train.py model.path=STAGE_1 mix=uniform\n" in text
    assert "/home/me" not in text
    assert "logger" not in text


def test_what_was_not_measured_is_said(two_stages: Lineage) -> None:
    assert "These weights were not measured." in card(two_stages, [])
    text = card(two_stages, [row("swh", 2.0, 1.9, 2.1)])
    assert "Not measured both before training and now: English (eng), Chinese (cmn)." in text
    assert "| Swahili (swh) | 2.000 [1.900, 2.100] |" in text


def test_from_scratch_there_is_nothing_to_retain() -> None:
    lineage = Lineage(None, (stage(1, None, {"eng": Served(3000, 0.5)}, 1.0),))
    text = card(lineage, [row("eng", 1.0, None, None)])
    assert "Trained from scratch: there was nothing to retain." in text
    assert "base_model" not in text
