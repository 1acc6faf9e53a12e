"""The run folder: claimed before training, and pointed at by `last`."""

from __future__ import annotations

import os
from pathlib import Path

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
