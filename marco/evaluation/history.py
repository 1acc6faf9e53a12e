"""The evaluations of a run, in memory, as lines of ``evaluations.jsonl``, and as a table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.evaluation.rows import Row
from marco.languages import get

if TYPE_CHECKING:
    import pandas as pd

FILE_NAME = "evaluations.jsonl"
#: The columns of ``to_frame`` that are no text.
NUMBERS = {"step": "int64", "tokens": "int64", "n": "int64"} | dict.fromkeys(
    ("value", "low", "high", "stderr", "chance"), "float64"
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The rows measured at one optimizer step, after ``tokens`` training tokens."""

    step: int
    tokens: int
    rows: tuple[Row, ...]


def to_records(history: Iterable[Evaluation]) -> list[dict[str, Any]]:
    """Return one flat dictionary a row: step, tokens, and the row's fields."""
    return [
        {"step": evaluation.step, "tokens": evaluation.tokens, **row.as_dict()}
        for evaluation in history
        for row in evaluation.rows
    ]


def from_records(records: Iterable[dict[str, Any]]) -> list[Evaluation]:
    """Put ``to_records``' dictionaries together again, in the order of their steps."""
    found: dict[tuple[int, int], list[Row]] = {}
    for record in records:
        key = (int(record["step"]), int(record["tokens"]))
        found.setdefault(key, []).append(Row.from_dict(record))
    return [Evaluation(step, tokens, tuple(rows)) for (step, tokens), rows in sorted(found.items())]


def write_history(folder: Path, history: Sequence[Evaluation]) -> None:
    """Write ``evaluations.jsonl`` whole, beside and renamed: a reader never sees half of it."""
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in to_records(history)]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    beside = path.with_name(path.name + ".tmp")
    beside.write_text("".join(lines), encoding="utf-8")
    os.replace(beside, path)


def read_history(folder: Path) -> list[Evaluation]:
    """Read ``evaluations.jsonl`` of a run folder; empty where there is none."""
    path = folder / FILE_NAME
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return from_records(json.loads(line) for line in lines)


def to_frame(history: Iterable[Evaluation]) -> pd.DataFrame:
    """Return the rows as a data frame with the languages' names, one line a measurement.

    Columns have the same types in every run, whatever of a run is missing: tables can be merged.
    """
    import pandas as pd

    records = [{**record, "name": get(record["language"]).name} for record in to_records(history)]
    columns = ["step", "tokens", "language", "name", "group", "task", "metric"]
    columns += ["value", "low", "high", "n", "reason", "stderr", "chance", "subtask", "source"]
    frame = pd.DataFrame(records, columns=columns)
    return frame.astype({column: NUMBERS.get(column, "string") for column in columns})


def before(history: Sequence[Evaluation]) -> Evaluation | None:
    """Return the evaluation made before any training, if one was."""
    return next((evaluation for evaluation in history if evaluation.tokens == 0), None)


def after(history: Sequence[Evaluation]) -> Evaluation | None:
    """Return the last evaluation made after some training, if one was."""
    trained = [evaluation for evaluation in history if evaluation.tokens > 0]
    return trained[-1] if trained else None
