"""Runs made of numbers, in memory and as folders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from marco.evaluation.compare.run import Group, Run
from marco.evaluation.items import Item
from marco.evaluation.results.folder import write_evaluation
from marco.evaluation.results.table import Measured
from marco.evaluation.rows import Row
from marco.languages import get


def row(language: str, values: Sequence[float], metric: str = "acc", task: str = "quiz") -> Row:
    mean = float(np.mean(values))
    return Row(task, language, get(language).group, metric, mean, len(values))


def items(
    language: str, values: Sequence[float], metric: str = "acc", task: str = "marco_quiz"
) -> list[Item]:
    name = f"{task}_{language}"
    return [Item(name, language, f"{i:04}", {metric: float(v)}) for i, v in enumerate(values)]


def run(
    values: Mapping[str, Sequence[float]], metric: str = "acc", name: str = "run", **fields: Any
) -> Run:
    return Run(
        name=name,
        rows=[row(language, found, metric) for language, found in values.items()],
        items=[
            item for language, found in values.items() for item in items(language, found, metric)
        ],
        **fields,
    )


def group(*runs: Run) -> Group:
    return Group(runs[0].name, runs)


def write_run(
    folder: Path,
    values: Mapping[str, Sequence[float]],
    config: Mapping[str, Any],
    losses: Mapping[int, float] | None = None,
    tokens: Mapping[str, int] | None = None,
    step: int = 10,
) -> Path:
    """Write a run folder as training does."""
    made = run(values)
    place = folder / "evaluations" / f"step-{step:08}"
    place.mkdir(parents=True)
    write_evaluation(place, made.rows, {"quiz": made.items}, Measured("x", "", step * 100))
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)))
    lines = [
        {"step": i, "tokens": at, "train/loss": loss}
        for i, (at, loss) in enumerate((losses or {}).items())
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ledger = {code: {"tokens": n, "epochs": n / 1000} for code, n in (tokens or {}).items()}
    (folder / "summary.json").write_text(json.dumps({"ledger": {"languages": ledger}}))
    return folder
