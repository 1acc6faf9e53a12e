"""The folder of a run's checkpoints: names, half-written leftovers, the ``last`` link.

``step-00000120`` is a checkpoint. Hidden names are on their way in or out: ``.tmp-…`` is being
written, ``.old-step-00000120`` gives way to a new checkpoint of its step, ``.trash-…`` is being
deleted. Whatever moment a process dies at, each checkpoint is whole or hidden.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
import warnings
from contextlib import suppress
from pathlib import Path

LAST = "last"
_STALE_SECONDS = 3600.0  # of silence, before a writer on another machine is taken for dead
_STEP = re.compile(r"step-(\d{8,})")
_OLD = ".old-"
_TRASH = ".trash-"
_TEMPORARY = ".tmp-"


class CheckpointWarning(UserWarning):
    """Something about a checkpoint that does not stop the run."""


def name_of(step: int) -> str:
    """Return the folder name of the checkpoint at ``step``."""
    return f"step-{step:08d}"


def temporary_name(step: int) -> str:
    """Return a hidden name that says who is writing: machine and process."""
    return f"{_TEMPORARY}{name_of(step)}-{socket.gethostname()}-{os.getpid()}"


def checkpoints(folder: Path) -> dict[int, Path]:
    """Return the checkpoints in ``folder`` by step, oldest first; whether they are sound is open.

    One that was being replaced when its writer died counts, under its hidden name.
    """
    found: dict[int, Path] = {}
    if folder.is_dir():
        for prefix in (_OLD, ""):
            for path in folder.iterdir():
                match = _STEP.fullmatch(path.name.removeprefix(prefix))
                if match and path.name.startswith(prefix) and path.is_dir():
                    found[int(match[1])] = path
    return dict(sorted(found.items()))


def publish(temporary: Path, final: Path) -> None:
    """Rename a finished checkpoint into place, over an older one of the same step if there is one.

    Raises `OSError` with the older one back in its place.
    """
    old = final.with_name(_OLD + final.name)
    if final.exists():
        os.replace(final, old)
    try:
        os.replace(temporary, final)
    except OSError:
        if old.exists():
            os.replace(old, final)
        raise
    if old.exists():
        with suppress(OSError):  # the new one is in place; the next writer cleans up
            remove(old)


def remove(path: Path) -> None:
    """Delete a checkpoint: renamed first, so that a crash leaves no half one that looks whole."""
    trash = path.with_name(f"{_TRASH}{path.name.lstrip('.')}-{os.getpid()}-{time.time_ns()}")
    os.replace(path, trash)
    shutil.rmtree(trash, ignore_errors=True)


def clean_up(folder: Path) -> None:
    """Remove what dead writers left, and put back a checkpoint that was being replaced."""
    for path in folder.iterdir():
        if path.name.startswith(_TRASH) or (path.name.startswith(_TEMPORARY) and not _alive(path)):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(_OLD):
            final = path.with_name(path.name.removeprefix(_OLD))
            if final.exists():
                remove(path)
            else:
                os.replace(path, final)


def point_last(folder: Path) -> None:
    """Let the link ``last`` name the newest checkpoint.

    It is for people: nothing here reads it, so a file system without links costs a warning.
    """
    newest = next(reversed(checkpoints(folder).values()), None)
    if newest is None:
        return
    link = folder / f".{LAST}-{os.getpid()}"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(newest.name, target_is_directory=True)
        os.replace(link, folder / LAST)
    except OSError as error:
        with suppress(OSError):
            link.unlink(missing_ok=True)
        warnings.warn(f"no link {folder / LAST}: {error}", CheckpointWarning, stacklevel=2)


def size_on_disk(path: Path) -> int:
    """Return the bytes of all files under ``path``."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _alive(path: Path) -> bool:
    """Whether the writer of a temporary folder may still be at it."""
    host, _, process = path.name.rpartition("-")
    if not host.endswith(f"-{socket.gethostname()}") or not process.isdigit():
        return _quiet_seconds(path) < _STALE_SECONDS
    if int(process) == os.getpid():
        return False  # an attempt of ours that could not even be removed
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _quiet_seconds(path) < _STALE_SECONDS  # process numbers are reused


def _quiet_seconds(path: Path) -> float:
    newest = 0.0
    for file in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            newest = max(newest, file.stat().st_mtime)
    return time.time() - newest
