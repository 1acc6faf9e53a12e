"""The runs below a folder: their overrides and configs, and why some are not to be ranked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from marco.errors import DataError
from marco.evaluation.compare.read import read_config
from marco.evaluation.summary import FILE_NAME as SUMMARY

OVERRIDES = "overrides.txt"
_SWEEP = "multirun.yaml"
#: Where a sweep notes why a run failed, and after how many tokens it was given up.
_FAILED, _PRUNED = "failed.txt", "pruned.json"
#: What an earlier attempt left, within the folder of a run that was made again.
_EARLIER = "earlier-"
_ERROR = re.compile(r"\S+ \S+ (?:ERROR|CRITICAL) \S+: (?:error: )?(.+)")


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep, or one beside others.

    Attributes:
        folder: its folder.
        name: the folder below the one that was asked for.
        overrides: those of its command line.
        config: dotted key → value; empty where none was written.
        problem: why it has no result; None of a run that finished.
    """

    folder: Path
    name: str
    overrides: Sequence[str]
    config: Mapping[str, Any]
    problem: str | None


def find_runs(folders: Sequence[Path]) -> list[SweepRun]:
    """Return the runs below some folders, or those that these are, in their natural order.

    Raises:
        DataError: a folder isn't there, or there is no run below any.
    """
    found: dict[Path, SweepRun] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder.")
        for place in sorted(_places(folder.resolve()), key=_natural):
            below = place.relative_to(folder.resolve())
            named = below if len(folders) == 1 else Path(folder.resolve().name, below)
            name = place.name if named == Path() else str(named)
            found.setdefault(place, _read(place, name))
    if not found:
        where = ", ".join(map(str, folders))
        raise DataError(
            f"{where}: neither a run nor a sweep; a run's folder has {OVERRIDES}, and the runs of "
            "a sweep lie below the folder that ends in -sweep."
        )
    return list(found.values())


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is that of one ``python train.py -m``."""
    return (folder / _SWEEP).is_file()


def _places(folder: Path) -> Iterator[Path]:
    """Run folders, and those a sweep numbered, where a run ended before it wrote anything."""
    for place, below, files in os.walk(folder):
        if OVERRIDES in files:
            below.clear()
            yield Path(place)
            continue
        below[:] = [name for name in below if not name.startswith(_EARLIER)]
        if _SWEEP in files:
            for name in filter(str.isdecimal, below):
                if not Path(place, name, OVERRIDES).is_file():
                    yield Path(place, name)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _read(folder: Path, name: str) -> SweepRun:
    written = folder / OVERRIDES
    overrides: list[str] = []
    try:
        if written.is_file():
            overrides = written.read_text(encoding="utf-8").splitlines()
        config = read_config(folder)
        problem = _problem(folder) if config else "it ended before it began: no config.yaml"
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        config, problem = {}, f"it cannot be read: {error}"
    return SweepRun(folder, name, overrides, config, problem)


def _problem(folder: Path) -> str | None:
    """Why a run has no result, in its own words if it left any."""
    if (folder / _PRUNED).is_file():
        tokens = json.loads((folder / _PRUNED).read_text(encoding="utf-8"))["tokens"]
        return f"pruned after {tokens:,} tokens"
    if (folder / _FAILED).is_file():
        return f"failed: {(folder / _FAILED).read_text(encoding='utf-8').strip()}"
    if (folder / SUMMARY).is_file():
        return None
    log = folder / "log.txt"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    for line in reversed(lines):
        if match := _ERROR.fullmatch(line):
            return f"failed: {match[1]}"
    return "not finished"
