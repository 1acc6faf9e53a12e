"""``resume=<a sweep's folder>``: the command line that made it, for what did not finish."""

from __future__ import annotations

from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from marco.config import diagnose
from marco.config.redact import REDACTED
from marco.config.resume import resume_value
from marco.config.sweep import SWEEP_DIR
from marco.errors import CheckpointError, ConfigError

MULTIRUN = "multirun.yaml"


def sweep_folder(overrides: list[str], runs: Path) -> Path | None:
    """Return the sweep's folder that ``resume=`` names, a path or one below ``runs``; or None."""
    wanted = resume_value(overrides)
    if wanted is None:
        return None
    places = (Path(wanted).expanduser(), runs / wanted)
    return next((place.resolve() for place in places if (place / MULTIRUN).is_file()), None)


def relaunch(folder: Path, overrides: list[str]) -> list[str]:
    """Return the overrides of the sweep, with the launcher and the logger that are given now.

    Raises:
        ConfigError: for an override that would change the runs, and a secret that was not saved.
        CheckpointError: for a sweep whose own file is damaged.
    """
    parsed = diagnose.parse(overrides, OverridesParser.create())
    changes: list[str] = []
    for override in parsed:
        key = override.key_or_group
        if key in ("resume", "paths.runs") and not override.is_sweep_override():
            continue
        logger = key == "logger" or key.startswith("logger.")
        if not (override.is_hydra_override() or logger) or override.is_sweep_override():
            raise ConfigError(
                f"'{key}' cannot change when a sweep goes on: its runs stay what they were. "
                "May change: hydra/launcher, hydra.*, logger and logger.*"
            )
        changes.append(str(override.input_line))
    given = {text.partition("=")[0] for text in changes}
    try:
        saved = yaml.safe_load((folder / MULTIRUN).read_text(encoding="utf-8"))
        before = [*saved["hydra"]["overrides"]["hydra"], *saved["hydra"]["overrides"]["task"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise CheckpointError(f"'{folder / MULTIRUN}' cannot be read: {error}") from error
    dropped = ("hydra.mode=", "hydra.run.dir=", SWEEP_DIR)
    kept = [
        text
        for text in before
        if not text.startswith(dropped) and text.partition("=")[0] not in given
    ]
    for text in kept:
        if REDACTED in text:
            key = text.partition("=")[0]
            raise ConfigError(f"{key} is a secret and was not saved: give it again, {key}=…")
    return [*kept, *changes, f"{SWEEP_DIR}'{_escaped(folder)}'"]


def _escaped(folder: Path) -> str:
    return str(folder).replace("\\", "\\\\").replace("'", "\\'")
