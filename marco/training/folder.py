"""The run folder: claimed before training, and pointed at by `last`."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from marco.config import quoted
from marco.errors import ConfigError


def open_folder(folder: Path, runs: Path) -> None:
    """Make sure the folder can be written to, and point `<runs>/last` at it.

    Raises:
        ConfigError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"marco")
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"The run folder {folder} cannot be written to: {error}") from error
    link = runs / "last"
    beside = runs / f".last-{os.getpid()}"
    try:
        beside.symlink_to(os.path.relpath(folder, runs))
        os.replace(beside, link)
    except OSError:  # a file system without links, or a folder called last: a convenience less
        beside.unlink(missing_ok=True)


def resume_hint(folder: Path) -> str:
    """`resume=<folder>` as the user would type it from here, for the shell and for Hydra."""
    here = Path.cwd()
    place = folder.relative_to(here) if folder.is_relative_to(here) else folder
    plain = re.fullmatch(r"[\w./+-]+", str(place), re.ASCII)
    return f"resume={place}" if plain else shlex.quote(f"resume={quoted(place)}")
