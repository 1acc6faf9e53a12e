"""Records as a parquet file and the same as JSON, written whole and read back equal.

In both files a number that is not one (NaN) is something else than no number (None, null). JSON has
no NaN, so it is the string "NaN" there, and infinities are "Infinity" and "-Infinity", as in
protobuf's JSON mapping (https://protobuf.dev/programming-guides/json/).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from marco.errors import DataError


def write_records(
    folder: Path, stem: str, records: Sequence[Mapping[str, Any]], schema: pa.Schema
) -> tuple[Path, Path]:
    """Write ``<stem>.parquet`` and ``<stem>.json`` and return their paths.

    Each is written beside and renamed: a reader never sees half of it. A field that a record lacks
    is null; one that the schema lacks is an error.

    Raises:
        DataError: a field that the schema lacks, or a value of another type.
    """
    known = set(schema.names)
    for record in records:
        if unknown := sorted(set(record) - known):
            raise DataError(f"{stem}: no column for {', '.join(unknown)}; there are {schema.names}")
    try:
        table = pa.Table.from_pylist([dict(record) for record in records], schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{stem}: {error}") from error
    lines = [
        json.dumps({k: _to_json(v) for k, v in record.items()}, ensure_ascii=False, allow_nan=False)
        for record in table.to_pylist()
    ]
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    parquet, plain = folder / f"{stem}.parquet", folder / f"{stem}.json"
    replace_file(parquet, lambda path: pq.write_table(table, path))
    replace_file(plain, lambda path: path.write_text(text, encoding="utf-8"))
    return parquet, plain


def read_records(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """Read what ``write_records`` wrote, either of the two files.

    Raises:
        DataError: there is no such file, or it isn't of this schema.
    """
    if not path.exists():
        raise DataError(f"No file {path}.")
    if path.suffix == ".json":
        records = json.loads(path.read_text(encoding="utf-8"))
        floats = {field.name for field in schema if pa.types.is_floating(field.type)}
        return [
            {k: float(v) if k in floats and v is not None else v for k, v in record.items()}
            for record in records
        ]
    table = pq.read_table(path)
    if not table.schema.equals(schema):
        raise DataError(f"{path} has the columns {table.schema.names}, not {schema.names}.")
    return list(table.to_pylist())


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".tmp")
    write(beside)
    os.replace(beside, path)


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
