"""Read aligned lines out of .tsv and .jsonl files and pairs of plain text files (Moses).

Lines are read, and bad bytes and endless lines refused, by `marco.data.text_files`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from marco.data.text_files import lines_of, objects_of
from marco.errors import ConfigError, DataError
from marco.languages import canonical, get

#: The keys of a JSONL line that says its direction, and the keys that name their languages.
_SIDES = (("source", "source_language"), ("target", "target_language"))


def tsv_header(path: Path, max_bytes: int) -> list[str]:
    """Return the languages that a file's first line names, as canonical codes.

    Raises:
        DataError: a column that is no language, one language twice, or fewer than two columns.
    """
    header = next((line for _, line in lines_of(path, max_bytes)), "").split("\t")
    try:
        codes = canonical([cell.strip() for cell in header])
    except ConfigError as error:
        raise DataError(
            f"{path}, line 1, should be a header with a language for each column: {error} "
            "Where there is no header, say what the columns are with `languages`."
        ) from None
    if len(codes) < 2:
        raise DataError(f"{path}, line 1: one column ({codes[0]}); a pair needs two, with a tab.")
    return codes


def tsv_rows(path: Path, languages: list[str] | None, max_bytes: int) -> Iterator[dict[str, str]]:
    """Yield the rows of a tab-separated file; quotation marks and backslashes are text.

    Args:
        path: the file; may end in .gz or .xz.
        languages: canonical codes of the columns; None: the first line names them.
        max_bytes: the longest line that is accepted.

    Raises:
        DataError: as `tsv_header`; a line with another number of columns, with file and line; a
            header although `languages` are given.
    """
    codes = tsv_header(path, max_bytes) if languages is None else languages
    for number, line in lines_of(path, max_bytes):
        if number == 1 and languages is None:
            continue
        cells = line.split("\t") if line else [""] * len(codes)
        if len(cells) != len(codes):
            raise DataError(
                f"{path}, line {number}: {len(cells)} columns (tabs between them), not "
                f"{len(codes)} ({', '.join(codes)})."
            )
        if number == 1 and {_code(cell) for cell in cells} == set(codes):
            raise DataError(
                f"{path}, line 1 is a header ({', '.join(cells)}): set languages to null, and "
                "the columns will be what it says."
            )
        yield dict(zip(codes, cells, strict=True))


def jsonl_rows(
    path: Path, languages: list[str] | None, max_bytes: int, keys: dict[str, str | None]
) -> Iterator[dict[str, str]]:
    """Yield the rows of a file with an object a line.

    Either the keys are languages ({"eng": "…", "swh": "…"}, two or more), or they are "source",
    "target" and, unless `languages` are two, "source_language" and "target_language".

    Args:
        path: the file; may end in .gz or .xz.
        languages: canonical codes of what to take; other keys are left alone. None: all keys but
            "id" must be languages.
        max_bytes: the longest line that is accepted.
        keys: filled with every key that was met → its canonical code, or None.

    Raises:
        DataError: with file and line: no JSON object; a key that is no language; one language
            twice; a text that is no string (null is a missing one).
    """
    for number, entry in objects_of(path, max_bytes, '{"eng": "…", "swh": "…"}'):
        place = f"{path}, line {number}"
        row: dict[str, str] = {}
        for word, text in _named(entry, languages, place):
            if word not in keys:
                keys[word] = _code(word)
            code = keys[word]
            if code is None and languages is None:
                raise _no_language(word, place)
            if code is None or (languages is not None and code not in languages):
                continue
            if code in row:
                raise DataError(f"{place}: {get(code).name} ({code}) is there twice.")
            row[code] = _text(text, word, place)
        yield row


def moses_rows(paths: Mapping[str, Path], max_bytes: int) -> Iterator[dict[str, str]]:
    """Yield the rows of plain text files, line n of one being line n of the others.

    Args:
        paths: canonical code → file; each may end in .gz or .xz.
        max_bytes: the longest line that is accepted.

    Raises:
        DataError: one has more lines than another, with the numbers of both.
    """
    readers = [lines_of(path, max_bytes) for path in paths.values()]
    for row in zip_longest(*readers):
        if None in row:
            lengths = [
                sum(1 for _ in lines_of(path, max_bytes)) for path in paths.values()
            ]  # read again: an error may take its time
            counted = ", ".join(
                f"{path} has {length}" for path, length in zip(paths.values(), lengths, strict=True)
            )
            raise DataError(
                f"The files have unequal numbers of lines, so that they cannot be aligned: "
                f"{counted} (a lone carriage return ends a line, too)."
            )
        yield {code: line for code, (_, line) in zip(paths, row, strict=True)}


def _named(
    entry: Mapping[str, Any], languages: Sequence[str] | None, place: str
) -> Iterator[tuple[str, object]]:
    """Yield what names the language of a text, and the text."""
    if not all(side in entry for side, _ in _SIDES):
        yield from ((key, text) for key, text in entry.items() if key != "id")
        return
    for number, (side, key) in enumerate(_SIDES):
        word = entry.get(key)
        if word is None and languages is not None and len(languages) == 2:
            word = languages[number]
        if not isinstance(word, str):
            raise DataError(f'{place}: "{key}" should name a language, such as "eng".')
        if _code(word) is None:
            raise _no_language(word, place)
        yield word, entry[side]


def _text(text: object, key: str, place: str) -> str:
    if text is None:
        return ""
    if not isinstance(text, str):
        raise DataError(f'{place}: the text of "{key}" is {text!r:.40}, not a string.')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f'{place}: half a surrogate pair at character {error.start} of "{key}": it cannot be '
            "written as UTF-8."
        ) from None
    return text


def _no_language(word: str, place: str) -> DataError:
    try:
        get(word)
    except ConfigError as error:
        return DataError(
            f"{place}: {error} To leave other keys alone, say which to take with `languages`."
        )
    raise AssertionError(word)


def _code(word: str) -> str | None:
    try:
        return get(word).code
    except ConfigError:
        return None
