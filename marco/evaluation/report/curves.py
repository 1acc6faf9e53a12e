"""The numbers that the page's script draws, no more of them than a screen shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from marco.evaluation.report.measures import OTHER, Measure, group_of, in_order, name_of
from marco.languages import GROUPS

#: Points of a curve of the training; those in between are averaged.
POINTS = 400
#: Values of all languages and metrics together; above, evaluations are left out evenly.
VALUES = 300_000
#: Metrics of the training, how they are called, and what they are divided by to be read.
TRAINING = {
    "train/loss": ("Training loss, nats per token", 1.0),
    "train/tokens_per_second": ("Thousand tokens per second", 1e3),
    "train/peak_memory_bytes": ("Peak memory of a process, GB", 1e9),
    "train/mfu": ("Model FLOPs utilisation", 1.0),
    "train/learning_rate": ("Learning rate", 1.0),
    "train/gradient_norm": ("Gradient norm", 1.0),
}
_LANGUAGE_LOSS = "train/loss/"


def curves(measures: Sequence[Measure], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return {languages, measures, training} as plain lists that JSON can hold."""
    lines = [_evaluated(measure) for measure in _thinned(measures)]
    loss = _training_by_language(metrics)
    if loss is not None:
        lines.append(loss)
    codes = in_order(list(dict.fromkeys(code for line in lines for code in line["values"])))
    return {
        "groups": [group for group in (*GROUPS, OTHER) if group in map(group_of, codes)],
        "languages": {code: [name_of(code), group_of(code)] for code in codes},
        "measures": lines,
        "training": [
            {"name": name, "tokens": tokens, "values": [_short(value / unit) for value in values]}
            for key, (name, unit) in TRAINING.items()
            if (found := _points(metrics, key)) is not None
            for tokens, values in [found]
        ],
    }


def _evaluated(measure: Measure) -> dict[str, Any]:
    return {
        "name": measure.name,
        "better": measure.direction,
        "tokens": list(measure.tokens),
        "mean": [_short(value) for value in measure.means],
        "values": {code: [_short(v) for v in line] for code, line in measure.values.items()},
    }


def _thinned(measures: Sequence[Measure]) -> list[Measure]:
    values = sum(len(measure.values) * len(measure.tokens) for measure in measures)
    step = math.ceil(values / VALUES)
    if step <= 1:
        return list(measures)

    last = len(measures[0].tokens) - 1
    return [each.at([*range(0, last, step), last]) for each in measures]


def _training_by_language(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The training loss of each language; a bin without the language has no value."""
    binned = list(_bins([line for line in metrics if "train/loss" in line]))
    keys = dict.fromkeys(key for line in metrics for key in line if key.startswith(_LANGUAGE_LOSS))
    if not keys or not binned:
        return None
    codes = {key.removeprefix(_LANGUAGE_LOSS): key for key in keys}
    values = {code: [_mean(lines, key) for lines in binned] for code, key in codes.items()}
    return {
        "name": "training loss, nats per token",
        "better": "lower",
        "tokens": [lines[-1]["tokens"] for lines in binned],
        "mean": [_short(_mean(lines, "train/loss")) for lines in binned],
        "values": {code: [_short(value) for value in line] for code, line in values.items()},
    }


def _points(metrics: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]] | None:
    binned = _bins([line for line in metrics if line.get(key) is not None])
    if not binned:
        return None
    means = [_mean(lines, key) or 0.0 for lines in binned]
    return [lines[-1]["tokens"] for lines in binned], means


def _bins(lines: Sequence[Mapping[str, Any]]) -> list[Sequence[Mapping[str, Any]]]:
    size = max(1, math.ceil(len(lines) / POINTS))
    return [lines[start : start + size] for start in range(0, len(lines), size)]


def _mean(lines: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [value for line in lines if (value := line.get(key)) is not None]
    return math.fsum(values) / len(values) if values else None


def _short(value: float | None) -> float | None:
    """Five digits: more than a pixel shows."""
    return None if value is None else float(f"{value:.5g}")
