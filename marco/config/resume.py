"""``resume=<run folder|last>``: the saved configuration, and the few things that may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from marco.config import diagnose
from marco.config.compose import Sources, compose, require_complete
from marco.config.saved import CONFIG, load_config, require_secrets
from marco.errors import CheckpointError, ConfigError, nearest

CHANGEABLE = ("tokens", "trainer.devices", "trainer.strategy")
"""Values that may change on resume, beside the whole group ``logger``."""
_ALLOWED = "tokens, trainer.devices, trainer.strategy, logger and logger.*"


@dataclass(frozen=True)
class Resumed:
    """A run to go on with."""

    cfg: DictConfig
    """Its saved config with the permitted changes; ``cfg.resume`` is the folder."""
    folder: Path
    """Its folder, absolute, links followed."""


def resume_value(overrides: Sequence[str]) -> str | None:
    """Return what ``resume=`` was given, or None when the run is a new one."""
    found: str | None = None
    for override in diagnose.parse(overrides, OverridesParser.create()):
        if override.key_or_group == "resume" and not override.is_delete():
            value = override.value()
            if override.is_sweep_override() or isinstance(value, (list, dict)):
                raise ConfigError("resume should be one run folder or 'last'.")
            found = None if value is None or str(value) == "" else str(value)
    return found


def load_resumed(overrides: list[str], *, sources: Sources | None = None) -> Resumed:
    """Return the run that ``resume=`` names, with its saved config.

    The saved config wins: of the other overrides only the budget (``tokens``), ``trainer.devices``
    and ``.strategy``, and the ``logger`` group are accepted (``paths.runs`` says where to look,
    Hydra's own keys do not touch the run). Raises ConfigError naming the first override that may
    not be given, and CheckpointError for a folder that is no run or has no checkpoint.
    """
    wanted = resume_value(overrides)
    if wanted is None:
        raise ConfigError("resume should be a run folder or 'last'.")
    parsed = diagnose.parse(overrides, OverridesParser.create())
    changes = [override for override in parsed if _is_change(override)]
    folder = locate_run(wanted, runs_folder(parsed, sources))
    cfg = load_config(folder)
    _replace_logger(cfg, changes, parsed, sources)
    for change in changes:
        key = change.key_or_group
        if key in CHANGEABLE:
            _set(cfg, key, change)
    with open_dict(cfg):
        cfg.resume = str(folder)
    require_complete(cfg)
    require_secrets(cfg)
    return Resumed(cfg, folder)


def locate_run(wanted: str, runs: Path) -> Path:
    """Return the run folder, absolute: a path, a path below ``runs``, or ``last``.

    Raises CheckpointError if there is none, or it holds no config or no checkpoint.
    """
    folder = _existing(wanted, runs)
    if not (folder / CONFIG).is_file():
        below = _known_runs(folder)
        hint = f" Runs there: {', '.join(below[-3:])}." if below else ""
        raise CheckpointError(f"resume={wanted}: '{folder}' has no {CONFIG}: no run folder.{hint}")
    checkpoints = folder / "checkpoints"
    saved = [p for p in checkpoints.iterdir() if p.is_dir()] if checkpoints.is_dir() else []
    if not [path for path in saved if not path.name.startswith(".")]:
        raise CheckpointError(
            f"resume={wanted}: '{folder}' has no checkpoint: it stopped before the first one."
        )
    return folder


def resumed_folder(overrides: list[str], *, sources: Sources | None = None) -> Path | None:
    """Return the folder that ``resume=`` names, whatever is in it; None where it is not given.

    Raises CheckpointError if there is none.
    """
    wanted = resume_value(overrides)
    if wanted is None:
        return None
    parsed = diagnose.parse(overrides, OverridesParser.create())
    return _existing(wanted, runs_folder(parsed, sources))


def _existing(wanted: str, runs: Path) -> Path:
    """Return the folder that is meant, absolute, links followed."""
    candidates = [runs / "last"] if wanted == "last" else [Path(wanted).expanduser(), runs / wanted]
    folder = next((path for path in candidates if path.is_dir()), None)
    if folder is None and wanted == "last":
        raise CheckpointError(f"resume=last: there is no run in '{runs}' yet.")
    if folder is None:
        known = _known_runs(runs)
        guess = nearest(wanted.rstrip("/"), [*known, *(str(runs / name) for name in known)])
        newest = f" The newest there: {known[-1]}." if known and not guess else ""
        raise CheckpointError(f"resume={wanted}: there is no such run folder.{guess}{newest}")
    return folder.resolve()


def _is_change(override: Override) -> bool:
    key = override.key_or_group
    if override.is_hydra_override() or key == "resume":
        return False
    if key == "paths.runs" and not override.is_sweep_override():
        return False
    if override.is_sweep_override():
        raise ConfigError(f"'{override.input_line}' is a sweep: resume continues one run.")
    if key in CHANGEABLE and not (override.is_delete() or override.is_add()):
        return True
    if key == "logger" or key.startswith("logger."):
        return True
    raise ConfigError(
        f"'{key}' cannot change on resume: the saved config wins. May change: {_ALLOWED}."
    )


def runs_folder(parsed: Sequence[Override], sources: Sources | None) -> Path:
    """Return where these overrides have runs put."""
    own = [
        str(override.input_line)
        for override in parsed
        if override.key_or_group in ("paths.runs", "hydra.searchpath")
    ]
    cfg = compose(own, sources=sources, complete=False)
    return Path(str(OmegaConf.select(cfg, "paths.runs"))).expanduser()


def _replace_logger(
    cfg: DictConfig, changes: list[Override], parsed: Sequence[Override], sources: Sources | None
) -> None:
    """Take the logger group from the tree when another option is chosen; else change its values."""
    mine = [
        c for c in changes if c.key_or_group == "logger" or c.key_or_group.startswith("logger.")
    ]
    if any(change.key_or_group == "logger" for change in mine):
        own = [str(c.input_line) for c in [*mine, *(p for p in parsed if p.is_hydra_override())]]
        fresh = compose(own, sources=sources, complete=False)
        with open_dict(cfg):
            cfg.logger = fresh._get_node("logger")
        return
    for change in mine:
        _set(cfg, change.key_or_group, change)


def _set(cfg: DictConfig, key: str, change: Override) -> None:
    if change.is_delete():
        raise ConfigError(f"'{change.input_line}': nothing can be deleted on resume.")
    parent, _, leaf = key.rpartition(".")
    holder: Any = OmegaConf.select(cfg, parent) if parent else cfg
    adds = change.is_add() or change.is_force_add()
    if not isinstance(holder, DictConfig) or (leaf not in holder and not adds):
        tree = OmegaConf.to_container(cfg, resolve=False)
        raise ConfigError(diagnose.unknown_key(key, tree if isinstance(tree, dict) else {}))
    OmegaConf.update(cfg, key, change.value(), force_add=True)


def _known_runs(folder: Path) -> list[str]:
    """Return the run folders below ``folder``, relative to it, the oldest first.

    They are ``<name>/<time>``, or ``<name>/<time>-sweep/<number>``.
    """
    found = [
        path.parent
        for depth in (1, 2, 3)
        for path in folder.glob("*/" * depth + CONFIG)
        if not path.parent.is_symlink()
    ]
    found.sort(key=lambda path: (path / CONFIG).stat().st_mtime)
    return [str(path.relative_to(folder)) for path in found]
