"""Files that are elsewhere, through fsspec: `s3://`, `gs://`, `hf://` and whatever else it knows.

Credentials and endpoints are fsspec's business: environment variables, or its configuration file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from marco.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

T = TypeVar("T")

#: Seconds before another try: a server that restarts is back by then.
WAITS = (0.5, 1.0, 2.0, 4.0)


def filesystem(path: str, where: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system that `path` names, and the path within it.

    Raises:
        ConfigError: an unknown protocol, or one whose package is not installed.
    """
    from fsspec.core import url_to_fs
    from fsspec.registry import available_protocols, known_implementations

    protocol = path.partition("://")[0]
    try:
        found, inside = url_to_fs(path)
    except ImportError as error:
        module = known_implementations.get(protocol, {}).get("class", "").partition(".")[0]
        advice = f"pip install {module}" if module else str(error)
        raise ConfigError(
            f"{where}: {protocol}:// needs a package that is not installed: {advice}"
        ) from error
    except ValueError as error:
        guess = nearest(protocol, available_protocols())
        raise ConfigError(f"{where}: '{path}' cannot be opened: {error}.{guess}") from error
    return found, str(inside)


def subfolders(path: str, where: str) -> list[str]:
    """Return the names of the folders in a folder, sorted; those with a dot in front are left out.

    Raises:
        ConfigError: there is no such folder, or none in it.
        DataError: the remote fails.
    """
    files, inside = filesystem(path, where)
    try:
        entries = retried(lambda: files.ls(inside, detail=True), f"{where}={path}")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{where}={path} is not a folder, or does not exist.") from error
    names = [entry["name"].rstrip("/").rpartition("/")[2] for entry in entries]
    kinds = [entry["type"] for entry in entries]
    found = sorted(
        name
        for name, kind in zip(names, kinds, strict=True)
        if kind == "directory" and not name.startswith(".")
    )
    if not found:
        raise ConfigError(f"{where}={path}: no folders in it, one for each source, such as swh.")
    return found


def is_local(path: str) -> bool:
    """Whether a shard's path is one of this machine."""
    return "://" not in path


def retried(action: Callable[[], T], what: str) -> T:
    """Do what may fail for a while, with growing waits in between.

    Raises:
        FileNotFoundError: at once; another try would not find it either.
        DataError: naming `what`, once no try succeeded, or without permission.
    """
    for wait in (*WAITS, None):
        try:
            return action()
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise DataError(f"{what}: no permission: {_reason(error)}") from error
        except Exception as error:  # the libraries behind fsspec share no other base class
            if wait is None:
                raise DataError(
                    f"{what} failed {len(WAITS) + 1} times in {sum(WAITS):g} s: {_reason(error)}"
                ) from error
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
