"""A comparison as CSV: every difference, the configs, what was trained on, the losses."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from marco.evaluation.compare.report import Report, letter
from marco.evaluation.results.files import replace_file

DIFFERENCES = "differences.csv"


def write_csv(folder: Path, report: Report) -> None:
    """Write ``differences.csv``, ``mismatches.csv``, ``config.csv``, ``ledger.csv``, ``loss.csv``.

    What nothing is known of is empty. A difference's ``language`` is empty for the mean over
    languages.

    Raises:
        OSError: the disk is full, say.
    """
    sides = [
        (letter(index), each)
        for index, comparison in enumerate(report.comparisons, 1)
        for each in (*comparison.means, *comparison.languages)
    ]
    names = ["before_group", "after_group"]
    write_rows(
        folder / DIFFERENCES,
        [*names, *_FIELDS],
        [["A", name, *(_flat(asdict(each))[field] for field in _FIELDS)] for name, each in sides],
    )
    write_rows(
        folder / "mismatches.csv",
        ["task", "language", "run", "other", "items", "other_items", "shared", "example"],
        [
            [m.task, m.language, *m.runs, *m.counts, m.shared, m.example]
            for comparison in report.comparisons
            for m in comparison.mismatches
        ],
    )
    named = [f"{label} {run.name}" for label, run in zip(report.labels, report.runs, strict=True)]
    write_rows(folder / "config.csv", ["key", *named], [[k, *v] for k, v in report.configs.items()])
    write_rows(
        folder / "ledger.csv",
        ["language", "field", *named],
        [
            [line.language, field, *(count and getattr(count, field) for count in line.counts)]
            for line in report.ledgers
            for field in ("tokens", "epochs")
        ],
    )
    write_rows(
        folder / "loss.csv",
        ["tokens", *named],
        [[line.tokens, *line.values] for line in report.losses],
    )


_PAIRS = {"runs": ("runs_before", "runs_after"), "stderrs": ("stderr_before", "stderr_after")}
_FIELDS = (
    *("task", "metric", "language", "before", "after", "difference", "low", "high", "p"),
    *("adjusted", "verdict", "method", "n", "worse", "improved"),
    *(name for names in _PAIRS.values() for name in names),
)


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    flat = dict(fields)
    for name, names in _PAIRS.items():
        flat |= dict(zip(names, flat.pop(name), strict=True))
    return {key: None if value != value else value for key, value in flat.items()}


def write_rows(path: Path, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, whole or not at all; None is empty."""

    def fill(beside: Path) -> None:
        with beside.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(lines)

    replace_file(path, fill)
