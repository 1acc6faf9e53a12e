"""Read objects out of .jsonl and .parquet files, with errors that name the file and the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marco.data.text_files import PACKED, objects_of
from marco.errors import DataError


def read_rows(path: Path, max_bytes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, object) of each line or row; the place is "file, line 3", for messages.

    Args:
        path: the file; its suffix says which kind it is.
        max_bytes: the longest line that is accepted.

    Raises:
        DataError: naming file and line (and byte, for bad UTF-8).
    """
    suffixes = [suffix for suffix in path.suffixes if suffix not in PACKED]
    yield from _parquet(path) if suffixes[-1] == ".parquet" else _jsonl(path, max_bytes)


def _jsonl(path: Path, max_bytes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, row in objects_of(path, max_bytes, '{"messages": […]}'):
        yield f"{path}, line {number}", row


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except UnicodeDecodeError:
        raise DataError(f"{path}, after row {number}: not valid UTF-8.") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}).") from None
