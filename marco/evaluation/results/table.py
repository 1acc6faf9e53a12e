"""The tidy tables: one line a measurement, or an aggregate, with the run that it is of.

A measurement's line also says what the language is: its name, script, family and group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from marco.evaluation.results.aggregates import Aggregate
from marco.evaluation.results.files import read_records, write_records
from marco.evaluation.rows import Row
from marco.languages import get

STEM, AGGREGATES_STEM = "results", "aggregates"

_MEASURED = [("run", pa.string()), ("checkpoint", pa.string()), ("tokens", pa.int64())]

SCHEMA = pa.schema(
    [
        *_MEASURED,
        ("task", pa.string()),
        ("subtask", pa.string()),
        ("language", pa.string()),
        ("name", pa.string()),
        ("script", pa.string()),
        ("family", pa.string()),
        ("group", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("stderr", pa.float64()),
        ("chance", pa.float64()),
        ("source", pa.string()),
        ("reason", pa.string()),
    ]
)

#: The fields of `marco.evaluation.results.aggregates.Aggregate`.
AGGREGATES_SCHEMA = pa.schema(
    [
        *_MEASURED,
        ("task", pa.string()),
        ("metric", pa.string()),
        ("over", pa.string()),
        ("name", pa.string()),
        ("corrected", pa.bool_()),
        ("value", pa.float64()),
        ("languages", pa.int64()),
        ("n", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("stderr", pa.float64()),
        ("interval", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured: a run's name, its checkpoint, the tokens that one was trained on.

    ``tokens`` is None of a model whose training isn't known.
    """

    run: str
    checkpoint: str
    tokens: int | None = None


def tidy(rows: Iterable[Row], of: Measured) -> list[dict[str, Any]]:
    """Return a record for each row, with the columns of :data:`SCHEMA` in their order.

    The lists of several checkpoints can be put one after the other, and make one table.

    Raises:
        ConfigError: a row's language is not in the registry.
    """
    records = []
    for row in rows:
        language = get(row.language)
        fields = {
            **asdict(of),
            **row.as_dict(),
            "name": language.name,
            "script": language.script,
            "family": language.family,
            "group": language.group,
        }
        records.append({name: fields[name] for name in SCHEMA.names})
    return records


def tidy_aggregates(aggregates: Iterable[Aggregate], of: Measured) -> list[dict[str, Any]]:
    """Return a record for each aggregate, with the columns of :data:`AGGREGATES_SCHEMA`."""
    return [{**asdict(of), **aggregate.as_dict()} for aggregate in aggregates]


def write_results(folder: Path, records: Sequence[Mapping[str, Any]]) -> tuple[Path, Path]:
    """Write ``results.parquet`` and ``results.json`` into a folder, each whole or not at all.

    Raises:
        DataError: a record with a field that the table lacks, or a value of another type.
    """
    return write_records(folder, STEM, records, SCHEMA)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read the table of a folder; ``Row.from_dict`` makes a row of each record.

    Raises:
        DataError: there is none, or it is not such a table.
    """
    return read_records(folder / f"{STEM}.parquet", SCHEMA)


def write_aggregates(folder: Path, records: Sequence[Mapping[str, Any]]) -> tuple[Path, Path]:
    """Write ``aggregates.parquet`` and ``aggregates.json``, as ``write_results`` does."""
    return write_records(folder, AGGREGATES_STEM, records, AGGREGATES_SCHEMA)


def read_aggregates(folder: Path) -> list[dict[str, Any]]:
    """Read the aggregates of a folder, as ``read_results`` does."""
    return read_records(folder / f"{AGGREGATES_STEM}.parquet", AGGREGATES_SCHEMA)
