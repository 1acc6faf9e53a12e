"""Items as one parquet file, so that any two runs can be paired item by item.

A line is an item. ``task``, ``language``, ``id`` and ``copy`` are its key: two runs are paired by
a join on these four. ``copy`` counts the documents of equal content within a task and language
(0 for almost all), since ``id`` is a hash of the content, and benchmarks do repeat documents; items
that are read come in the file's order, in which `copies` counts them again. ``family`` is the
task's name in the rows (``belebele``, of the task ``belebele_swh_Latn``); files of before there was
the column are read too. Each metric of any item has a column ``metric:<name>``, null where an item
lacks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from marco.errors import DataError
from marco.evaluation.items import Item
from marco.evaluation.results.files import replace_file

FILE_NAME = "items.parquet"
KEY = ("task", "language", "id", "copy")
METRIC = "metric:"

_FIXED = pa.schema(
    [
        ("task", pa.string()),
        ("language", pa.string()),
        ("id", pa.string()),
        ("copy", pa.int32()),
        ("prediction", pa.string()),
        ("target", pa.string()),
        ("loglikelihoods", pa.list_(pa.float64())),
        ("family", pa.string()),
    ]
)
_ADDED = ("family",)


def to_table(items: Sequence[Item]) -> pa.Table:
    """Return the items as a table, in their order; lone surrogates in a text become U+FFFD."""
    columns = [
        [item.task for item in items],
        [item.language for item in items],
        [item.id for item in items],
        copies(items),
        [_storable(item.prediction) for item in items],
        [_storable(item.target) for item in items],
        [item.loglikelihoods for item in items],
        [item.family for item in items],
    ]
    schema = _FIXED
    for metric in dict.fromkeys(name for item in items for name in item.metrics):
        schema = schema.append(pa.field(METRIC + metric, pa.float64()))
        columns.append([item.metrics.get(metric) for item in items])
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def from_table(table: pa.Table) -> list[Item]:
    """Return the items of a table, in its order.

    Raises:
        DataError: it lacks a column that every items file has.
    """
    needed = [name for name in _FIXED.names if name not in _ADDED]
    if missing := [name for name in needed if name not in table.column_names]:
        raise DataError(f"Not an items file: it has no column {', '.join(missing)}.")
    names = [name for name in table.column_names if name.startswith(METRIC)]
    metrics: list[dict[str, float]] = [{} for _ in range(table.num_rows)]
    for name in names:
        short = name.removeprefix(METRIC)
        for found, value in zip(metrics, table[name].to_pylist(), strict=True):
            if value is not None:
                found[short] = value
    fixed = (table[name].to_pylist() for name in needed if name != "copy")
    known = "family" in table.column_names
    families = table["family"].to_pylist() if known else [None] * table.num_rows
    return [
        Item(task, language, identity, found, prediction, target, tuple(likelihoods), family)
        for task, language, identity, prediction, target, likelihoods, found, family in zip(
            *fixed, metrics, families, strict=True
        )
    ]


def copies(items: Iterable[Item]) -> list[int]:
    """Return of each item how many of its task, language and content come before it."""
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for item in items:
        key = (item.task, item.language, item.id)
        found.append(seen[key])
        seen[key] += 1
    return found


def write_items(folder: Path, items: Sequence[Item]) -> Path:
    """Write ``items.parquet`` into a folder, whole or not at all, and return its path."""
    path = folder / FILE_NAME
    table = to_table(items)
    replace_file(path, lambda beside: pq.write_table(table, beside, compression="zstd"))
    return path


def read_items(folder: Path) -> list[Item]:
    """Read the items of a folder.

    Raises:
        DataError: there is no items file, or it is none.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise DataError(f"No file {path}.")
    return from_table(pq.read_table(path))


def _storable(text: str | None) -> str | None:
    """Generated text may hold half a character; Arrow's strings are UTF-8."""
    if text is None:
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
