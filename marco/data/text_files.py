"""Read texts out of .jsonl, .txt and .parquet files, with errors that name the file and the line.

Nothing larger than ``max_bytes`` is ever held for one line, so that a file without line ends is an
error and not the end of the machine's memory.
"""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from marco.errors import DataError

#: What a file's name may end in; the text formats may also be packed.
FORMATS = ("jsonl", "txt", "parquet")
PACKED = (".gz", ".xz")

_ARRAY = "a JSON array; write an object a line (jq -c '.[]' old.json > new.jsonl)"
_CHUNK = 1 << 20
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a file: ``number`` is its first line (from 1), or its row in Parquet."""

    text: str
    number: int
    id: str | None


def read_texts(path: Path, max_bytes: int) -> Iterator[Text]:
    """Yield the texts of a file, edges stripped, empty ones included.

    ``.jsonl``: an object a line, with ``"text"`` and optionally ``"id"``. ``.txt``: documents are
    separated by blank lines. ``.parquet``: a column ``text`` and optionally ``id``.

    Args:
        path: the file; its suffix says the format. ``.jsonl`` and ``.txt`` may end in .gz or .xz.
        max_bytes: the longest line, document or cell that is accepted.

    Raises:
        DataError: naming file and line (and byte, for bad UTF-8).
    """
    suffixes = [suffix for suffix in path.suffixes if suffix not in PACKED]
    readers = {".jsonl": _jsonl, ".txt": _txt, ".parquet": _parquet}
    for text in readers[suffixes[-1]](path, max_bytes):
        try:
            text.text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{path}, line {text.number}: half a surrogate pair at character {error.start} "
                "of the text: it cannot be written as UTF-8."
            ) from None
        yield text


def objects_of(path: Path, max_bytes: int, such_as: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a .jsonl file with their lines' numbers, from 1; empty lines are none.

    Args:
        path: the file; may end in .gz or .xz.
        max_bytes: the longest line that is accepted.
        such_as: what an object looks like, for the message.

    Raises:
        DataError: with file and line: no JSON, or no object.
    """
    for number, line in lines_of(path, max_bytes):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        array = line.lstrip().startswith("[")
        hint = f", but {_ARRAY}" if array else ""
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: not valid JSON ({error}){hint}.") from None
        if not isinstance(entry, dict):
            raise DataError(f"{place}: not an object such as {such_as}{hint}.")
        yield number, entry


def _jsonl(path: Path, max_bytes: int) -> Iterator[Text]:
    for number, entry in objects_of(path, max_bytes, '{"text": "…"}'):
        if not isinstance(text := entry.get("text"), str):
            keys = ", ".join(sorted(entry)) or "none"
            found = (
                f"is {text!r:.40}" if "text" in entry else f"is missing (keys here: {keys:.200})"
            )
            raise DataError(f'{path}, line {number}: the key "text", a string, {found}.')
        id_ = entry.get("id")
        if not isinstance(id_, str | int | None):
            raise DataError(f'{path}, line {number}: "id" must be a string or a whole number.')
        yield Text(text.strip(), number, None if id_ is None else str(id_))


def _txt(path: Path, max_bytes: int) -> Iterator[Text]:
    paragraph: list[str] = []
    start = size = 0
    for number, line in lines_of(path, max_bytes):
        if not line.strip():
            if paragraph:
                yield Text("\n".join(paragraph).strip(), start, None)
            paragraph, size = [], 0
            continue
        start = start if paragraph else number
        paragraph.append(line)
        size += len(line) + 1
        if size > max_bytes:
            raise _too_long(
                path, f"the document at line {start}", max_bytes, " (blank lines end it)"
            )
    if paragraph:
        yield Text("\n".join(paragraph).strip(), start, None)


def _parquet(path: Path, max_bytes: int) -> Iterator[Text]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if "text" not in columns:
                raise DataError(f"{path}: no column 'text' (columns here: {', '.join(columns)}).")
            wanted = ["text", *(["id"] if "id" in columns else [])]
            number = 0
            for batch in file.iter_batches(batch_size=256, columns=wanted):
                values = batch.column("text")
                if pa.types.is_dictionary(values.type):
                    values = values.dictionary_decode()
                if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
                    raise DataError(f"{path}: column 'text' holds {values.type}, not strings.")
                if (pc.max(pc.binary_length(values)).as_py() or 0) > max_bytes:
                    raise _too_long(path, f"a text after row {number}", max_bytes)
                ids = batch.column("id").to_pylist() if len(wanted) == 2 else [None] * len(values)
                for text, id_ in zip(_strings(path, number, values), ids, strict=True):
                    number += 1
                    yield Text(text.strip(), number, None if id_ is None else str(id_))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}).") from None


def _strings(path: Path, rows_before: int, values: object) -> Iterator[str]:
    """Yield a column's values, None as empty; Arrow does not check UTF-8 when it reads."""
    for row, value in enumerate(cast("list[object]", values), start=rows_before + 1):
        try:
            yield value.as_py() or ""  # type: ignore[attr-defined]
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}, row {row}: not valid UTF-8 at byte {error.start} of the text."
            ) from None


def lines_of(path: Path, max_bytes: int) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line); \\n, \\r\\n and \\r end lines, a byte order mark is dropped."""
    offset = 0
    with _open(path) as stream:
        for number, raw in enumerate(_raw_lines(path, stream, max_bytes), start=1):
            body = raw
            if number == 1:
                if raw.startswith(_UTF16_MARKS):
                    raise DataError(f"{path} is UTF-16: convert it to UTF-8.")
                body = raw.removeprefix(_UTF8_MARK)
            try:
                yield number, body.decode().rstrip("\r\n")
            except UnicodeDecodeError as error:
                place = offset + len(raw) - len(body) + error.start
                raise DataError(
                    f"{path}, line {number}, byte {place}: not valid UTF-8 ({error.reason})."
                ) from None
            offset += len(raw)


def _raw_lines(path: Path, stream: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    pieces: list[bytes] = []
    size, number = 0, 1
    while chunk := _read(path, stream, _CHUNK):
        while chunk.endswith(b"\r") and (next_byte := _read(path, stream, 1)):
            chunk += next_byte  # never cut \r\n in two
        for piece in chunk.splitlines(keepends=True):
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise _too_long(path, f"line {number}", max_bytes)
            if piece.endswith((b"\n", b"\r")):
                yield b"".join(pieces)
                pieces, size, number = [], 0, number + 1
    if pieces:
        yield b"".join(pieces)


def _open(path: Path) -> BinaryIO:
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        return cast(BinaryIO, openers.get(path.suffix, open)(path, "rb"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _read(path: Path, stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None


def _too_long(path: Path, what: str, max_bytes: int, how: str = "") -> DataError:
    return DataError(
        f"{path}: {what} is longer than {max_bytes / 1e6:g} MB{how}. Is the file what its name "
        "says? If such texts are meant, raise data.max_line_megabytes."
    )
