"""What a re-launched sweep finds at one of its points: nothing, a finished run, or part of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from omegaconf import DictConfig

from marco.config import redact
from marco.config.saved import CONFIG, leaves, load_config, with_whole_paths
from marco.errors import ConfigError

FAILED = "failed.txt"
"""In a sweep's run folder: why it failed."""
PRUNED = "pruned.json"
"""In a sweep's run folder: when it was given up, and what it had reached."""
SUMMARY = "summary.json"

State = Literal["new", "finished", "unfinished", "again"]
_FREE = ("logger", "resume")
"""What may differ between the launches of a sweep."""


def earlier(folder: Path, cfg: DictConfig) -> State:
    """Return what is in a run folder that a sweep is about to use for the run `cfg`.

    ``finished`` runs have a summary or were pruned, ``unfinished`` ones a checkpoint to go on from;
    those that failed, or ended before their first checkpoint, are to be run ``again``.

    Raises:
        ConfigError: the folder holds a run of another config.
    """
    if not (folder / CONFIG).is_file():
        return "new"
    _require_same(folder, cfg)
    if (folder / SUMMARY).is_file() or (folder / PRUNED).is_file():
        return "finished"
    if (folder / FAILED).is_file():
        return "again"
    saved = (folder / "checkpoints").glob("step-*/manifest.json")
    return "unfinished" if any(saved) else "again"


def set_aside(folder: Path) -> None:
    """Move what an earlier attempt left into ``earlier-1`` (…-2, …) of the same folder."""
    number = 1
    while (folder / f"earlier-{number}").exists():
        number += 1
    left = [path for path in folder.iterdir() if not path.name.startswith("earlier-")]
    place = folder / f"earlier-{number}"
    place.mkdir()
    for path in left:
        path.rename(place / path.name)


def failures(sweep: Path) -> dict[str, str]:
    """Return the names of a sweep's runs that failed, in order, and why each did."""
    found = sorted(sweep.glob(f"*/{FAILED}"), key=lambda path: _by_number(path.parent.name))
    return {path.parent.name: path.read_text(encoding="utf-8").strip() for path in found}


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (-1, name)


def _require_same(folder: Path, cfg: DictConfig) -> None:
    before = _comparable(load_config(folder))
    now = _comparable(redact.resolved(with_whole_paths(cfg)))
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            was, wanted = _shown(before.get(key)), _shown(now.get(key))
            raise ConfigError(
                f"'{folder}' holds a run with {key}={was}, not {wanted}. Go on with the sweep that "
                f"made it, resume={folder.parent}, or leave hydra.sweep.dir away."
            )


def _comparable(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by dotted key, as they are after a way through the file."""
    tree = yaml.safe_load(redact.to_yaml(redact.resolved(cfg)))
    return dict(leaves({key: value for key, value in tree.items() if key not in _FREE}))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
