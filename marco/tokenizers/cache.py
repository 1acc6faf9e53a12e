"""A small cache of built tokenizers, under ``$MARCO_CACHE`` or ``~/.cache/marco``.

Only ever a shortcut: an entry that is damaged is built again, and where nothing can be written
everything works as without a cache.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from marco.kernels.cache_folder import cache_folder


def cached(name: str, build: Callable[[], str]) -> str:
    """Return what ``build`` returns, from the cache where it is there.

    Args:
        name: file name of the entry; must contain a hash of everything that determines the result.
        build: called at most once.
    """
    path = cache_folder() / name
    with suppress(OSError):
        checksum, _, content = path.read_bytes().partition(b"\n")
        if checksum == _checksum(content):
            return content.decode()
    result = build()
    with suppress(OSError):
        _write(path, result.encode())
    return result


def _write(path: Path, content: bytes) -> None:
    """Write beside and rename: another process never sees half an entry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_checksum(content) + b"\n" + content)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
