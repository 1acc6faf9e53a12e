"""A folder with a file for each language, such as swh.jsonl: which files are whose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from marco.data.text_files import FORMATS, PACKED
from marco.errors import ConfigError, nearest
from marco.languages import canonical, get


def language_files(
    path: str, languages: Sequence[str] | None, kinds: Sequence[str] = FORMATS
) -> dict[str, list[Path]]:
    """Return code → its files, sorted by name.

    A language may have several files: ``swh.jsonl`` and ``swh.2024-05.jsonl.gz`` are both Swahili.

    Args:
        path: the folder (``data.path``).
        languages: what to look for, in this order (``data.languages``); None: all, sorted.
        kinds: what names end in; all but parquet may also be packed.

    Raises:
        ConfigError: no such folder, or a language without a file; an unknown language.
    """
    endings = [kind if kind == "parquet" else f"{kind}({'|'.join(PACKED)})?" for kind in kinds]
    name = re.compile(rf"(?P<language>[^.]+)(\.[^.]+)*?\.({'|'.join(endings)})")
    expected = f"files named <language>.{_either(kinds)}, such as swh.jsonl"
    folder = Path(path).expanduser()
    if not folder.is_dir():
        reason = "is a file, not a folder" if folder.exists() else "does not exist"
        siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
        hint = nearest(folder.name, [entry.name for entry in siblings if entry.is_dir()])
        raise ConfigError(f"data.path={path} {reason}.{hint} It must hold {expected}.")
    matches = [
        (match["language"], file)
        for file in sorted(folder.iterdir())
        if file.is_file() and (match := name.fullmatch(file.name))
    ]
    if not matches:
        raise ConfigError(f"data.path={path}: no texts there; it must hold {expected}.")
    if languages is None:
        return _all_files(path, matches)
    if not languages:
        raise ConfigError("data.languages is empty: name some, or null for all files' languages.")
    found: dict[str, list[Path]] = {code: [] for code in canonical(languages)}
    for word, file in matches:
        if (code := _code(word)) in found:
            found[code].append(file)
    for code, files in found.items():
        if not files:
            near = nearest(f"{code}.jsonl", [file.name for _, file in matches])
            raise ConfigError(
                f"data.languages: no file for {get(code).name} ({code}) in {path}.{near} "
                f"It would be {' or '.join(f'{code}.{kind}' for kind in kinds)}."
            )
    return found


def _either(words: Sequence[str]) -> str:
    """Such as "jsonl, .txt or .parquet": the first without its dot."""
    return " or ".join([", .".join(words[:-1]), f".{words[-1]}"])


def _all_files(folder: str, matches: list[tuple[str, Path]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for word, path in matches:
        try:
            found.setdefault(get(word).code, []).append(path)
        except ConfigError as error:
            raise ConfigError(
                f"data.path={folder}: the file {path.name} names no language: {error} "
                "Rename it, or list the languages to read in data.languages."
            ) from None
    return {code: found[code] for code in sorted(found)}


def _code(word: str) -> str | None:
    try:
        return get(word).code
    except ConfigError:
        return None
