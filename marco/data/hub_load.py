"""Finding and loading a dataset, with errors that say what would be right."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Any

from marco.errors import ConfigError, DataError, nearest

#: What `datasets` reads from files, by the name that `path` gives.
FORMATS = ("parquet", "json", "csv", "text", "arrow")

_SECONDS = 10.0


def check_place(
    path: str, revision: str | None, data_files: str | list[str] | None, where: str
) -> None:
    """Raise ConfigError where `load` would find nothing; one request at most."""
    if path in FORMATS:
        _check_files(path, data_files, where)
    elif not _is_here(path):
        _check_hub(path, revision, where)
    elif not (place := Path(path).expanduser()).exists():
        names = [entry.name for entry in place.parent.iterdir()] if place.parent.is_dir() else []
        raise ConfigError(
            f"{where}.path={path}: there is no such folder.{nearest(place.name, names)}"
        )


def load(
    path: str,
    name: str | None,
    split: str,
    revision: str | None,
    data_files: str | list[str] | None,
    where: str,
) -> Any:
    """Return the `datasets.Dataset` of a split, memory-mapped.

    Raises:
        ConfigError: no such configuration or split.
        DataError: it cannot be loaded.
    """
    import datasets

    place = str(Path(path).expanduser()) if _is_here(path) and path not in FORMATS else path
    listed = [data_files] if isinstance(data_files, str) else data_files
    patterns = listed and [os.path.expanduser(pattern) for pattern in listed]  # noqa: PTH111 - URLs
    datasets.disable_progress_bars()
    try:
        builder = datasets.load_dataset_builder(place, name, revision=revision, data_files=patterns)
        builder.download_and_prepare()
        names = [str(known) for known in builder.info.splits or {}]
    except ValueError as error:
        known = re.findall(r"'([^']+)'", str(error))
        raise ConfigError(
            f"{where}: {path} cannot be loaded: {_first_line(error)}"
            + (nearest(name, known) if name is not None else "")
        ) from None
    except Exception as error:  # of its readers and its HTTP library, which differ
        raise DataError(f"{where}: {path} cannot be loaded: {_first_line(error)}") from None
    finally:
        datasets.enable_progress_bars()
    wanted = re.split(r"[\[+]", split)[0]
    if wanted not in names:
        raise ConfigError(
            f"{where}.split={split}: {path} has no split '{wanted}'.{nearest(wanted, names)} "
            f"There are {', '.join(names)}."
        )
    try:
        return builder.as_dataset(split)
    except ValueError as error:
        raise ConfigError(f"{where}.split={split}: {_first_line(error)}") from None


def _is_here(path: str) -> bool:
    """Whether `path` means this machine: it exists, or cannot be a name of the hub."""
    return Path(path).expanduser().exists() or path[:1] in ("/", ".", "~") or path.count("/") > 1


def _check_files(path: str, data_files: str | list[str] | None, where: str) -> None:
    if not data_files:
        raise ConfigError(f"{where}.path={path} is a format: name its files in {where}.data_files.")
    for pattern in [data_files] if isinstance(data_files, str) else data_files:
        place = str(Path(pattern).expanduser())
        if "://" not in pattern and not glob.glob(place, recursive=True):  # noqa: PTH207
            parent = Path(pattern).expanduser().parent
            names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
            hint = nearest(Path(pattern).name, names)
            raise ConfigError(f"{where}.data_files: there is no {pattern}.{hint}")


def _check_hub(name: str, revision: str | None, where: str) -> None:
    import datasets
    from huggingface_hub import HfApi

    cache = Path(datasets.config.HF_DATASETS_CACHE)
    if cache.is_dir() and _letters(name) in {_letters(entry.name) for entry in cache.iterdir()}:
        return
    try:
        HfApi().dataset_info(name, revision=revision, timeout=_SECONDS)
    except Exception as error:  # those of its HTTP library, which differs between versions
        raise ConfigError(
            f"{where}.path={name}: no such folder here, and the hub gave no dataset of this name: "
            f"{_first_line(error)} Without a network, copy its files and name the folder, or set "
            f"{where}.path=parquet and {where}.data_files."
        ) from None


def _letters(name: str) -> str:
    """What is left of a name in the library's cache: it spells them in a way of its own."""
    return re.sub(r"[\W_]", "", name).casefold()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
