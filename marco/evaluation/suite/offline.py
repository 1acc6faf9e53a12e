"""Data sets from a folder in place of the hub (``evaluation.data_dir``), in the hub's layouts.

A data set ``owner/name`` with the subset ``N`` is looked for under ``<data_dir>/owner/name``:

- a copy of the hub's repository whose ``README.md`` lists ``N`` under ``configs:``;
- the files of a split, ``test.parquet`` or ``test-00000-of-00002.parquet`` and on, in ``N``,
  ``data/N``, ``N/test`` or ``data/N/test``, or as ``N-test.parquet``, beside each other or in
  ``data``. Without a subset: in the folder itself, ``data``, ``default`` or ``test``.

``.jsonl``, ``.json`` and ``.csv`` will do in place of ``.parquet``, gzipped too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from marco.errors import DataError

#: The reader of ``datasets`` for each ending.
_FORMATS: dict[str, tuple[str, ...]] = {
    "parquet": (".parquet",),
    "json": (".jsonl", ".jsonl.gz", ".json", ".json.gz"),
    "csv": (".csv", ".csv.gz"),
}

# Data set paths that are readers of files, not data sets.
_READERS = frozenset({*_FORMATS, "text", "arrow"})

# Options that say where a data set is on the hub; and one that is never given on.
_OF_THE_HUB = frozenset({"data_files", "data_dir", "revision", "token", "trust_remote_code"})

_ON_HUB = "hf://datasets/"


def local_data(config: Mapping[str, Any], splits: Sequence[str], data_dir: Path) -> dict[str, Any]:
    """Return what of a task's config to replace, so that it reads its data from ``data_dir``.

    Args:
        config: the YAML of a task whose data is on the hub (``from_hub``).
        splits: the splits that it cannot do without.
        data_dir: ``evaluation.data_dir``.

    Returns:
        ``dataset_path``, ``dataset_name`` and ``dataset_kwargs``.

    Raises:
        DataError: a file is missing (it says which), or the config leads out of ``data_dir``.
    """
    path, name = config.get("dataset_path"), config.get("dataset_name")
    options = dict(config.get("dataset_kwargs") or {})
    given = options.get("data_files")
    kept = {key: value for key, value in options.items() if key not in _OF_THE_HUB}
    folder = data_dir if path in _READERS else _inside(data_dir, str(path))
    if given is not None:
        reader, files = _given(given, folder, data_dir)
    elif name in (subsets := _subsets(folder)) or (name is None and subsets):
        return {"dataset_path": str(folder), "dataset_name": name, "dataset_kwargs": kept}
    else:
        reader, files = _found(folder, name, splits, _wanted(config, splits))
    return {
        "dataset_path": reader,
        "dataset_name": None,
        "dataset_kwargs": {**kept, "data_files": files},
    }


def from_hub(config: Mapping[str, Any]) -> bool:
    """Whether a task's YAML has its data come over the network."""
    path = str(config.get("dataset_path") or "")
    if not path or config.get("custom_dataset") or Path(path).is_absolute():
        return False
    return path not in _READERS or "://" in str(config.get("dataset_kwargs"))


def _found(
    folder: Path, name: str | None, needed: Sequence[str], wanted: Sequence[str]
) -> tuple[str, dict[str, list[str]]]:
    """Find the files of every split in the first format that has all the ``needed`` ones."""
    listing = list(_candidates(folder, name))
    for reader, endings in _FORMATS.items():
        files = {split: _of_split(listing, split, name, endings) for split in wanted}
        if needed and all(files[split] for split in needed):
            return reader, {split: paths for split, paths in files.items() if paths}
    there = folder / name if name else folder
    expected = " and ".join(f"{there / split}.parquet" for split in needed)
    raise DataError(
        f"No local data: expected {expected} (or .jsonl, .csv; or a copy of the hub's "
        f"{folder.parent.name}/{folder.name} with its README.md in {folder})."
    )


def _candidates(folder: Path, name: str | None) -> Iterator[tuple[Path, bool]]:
    """Yield the folders to look in, each with whether its files bear the subset's name."""
    for root in (folder, folder / "data"):
        if name is None:
            yield root, False
            yield root / "default", False
        else:
            yield _inside(root, name), False
            yield root, True


def _of_split(
    folders: Sequence[tuple[Path, bool]], split: str, name: str | None, endings: tuple[str, ...]
) -> list[str]:
    """Return the files of one split in the first folder that has any."""
    for folder, named in folders:
        stem = f"{name}-{split}" if named else split
        numbered = re.compile(rf"{re.escape(stem)}([-._]\d.*)?")
        for ending in endings:
            found = [
                file
                for file in _listed(folder)
                if file.name.endswith(ending) and numbered.fullmatch(file.name[: -len(ending)])
            ]
            inside = [] if named else _listed(_inside(folder, split))
            found = found or [file for file in inside if file.name.endswith(ending)]
            if found:
                return [str(file) for file in found]
    return []


def _listed(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []


def _wanted(config: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    """Return the splits worth loading: the needed ones, and those that the task names beside."""
    keys = ("training_split", "validation_split", "test_split", "fewshot_split")
    named = [str(config[key]) for key in keys if config.get(key)]
    return list(dict.fromkeys([*splits, *named]))


def _given(given: Any, folder: Path, data_dir: Path) -> tuple[str, Any]:
    """Map the files that a config names itself, as in the hub's repository, to local ones."""

    def local(file: str) -> str:
        there = _inside(
            data_dir if file.startswith(_ON_HUB) else folder, file.removeprefix(_ON_HUB)
        )
        if not there.is_file():
            raise DataError(f"No local data: expected {there}.")
        return str(there)

    named = given if isinstance(given, Mapping) else {"train": given}
    files = {
        split: [local(file) for file in ([paths] if isinstance(paths, str) else paths)]
        for split, paths in named.items()
    }
    first = next(path for paths in files.values() for path in paths)
    for reader, endings in _FORMATS.items():
        if first.endswith(endings):
            return reader, files
    raise DataError(f"{first} is in none of the formats that can be read: {', '.join(_FORMATS)}.")


def _subsets(folder: Path) -> list[str]:
    """Return the subsets that ``README.md`` lists with their files."""
    card = folder / "README.md"
    if not card.is_file():
        return []
    _, _, rest = card.read_text(encoding="utf-8").partition("---\n")
    header, closed, _ = rest.partition("\n---")
    try:
        facts = yaml.safe_load(header) if closed else None
    except yaml.YAMLError as error:
        raise DataError(f"{card}: its header is no YAML: {error}") from error
    configs = facts.get("configs") if isinstance(facts, dict) else None
    return [str(entry["config_name"]) for entry in configs or [] if entry.get("data_files")]


def _inside(folder: Path, path: str) -> Path:
    """Join a path out of a task's config. Raises DataError if it leads out of ``folder``."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise DataError(f"The data path '{path}' leads out of {folder}.")
    return folder / pure
