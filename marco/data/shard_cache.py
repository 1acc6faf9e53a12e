"""A bounded folder of whole remote shards, shared by all processes of a machine.

A file is fetched when it is first read, written beside and renamed. When the folder is over its
bound, what was not used for longest goes; on POSIX a process that has mapped it reads on.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from marco.data.remote import filesystem, retried
from marco.errors import ConfigError, DataError

_PART = ".part"
# A download writes all the time: what nobody has written to for so long was left by a crash.
_STALE_SECONDS = 3600.0


@dataclass(frozen=True)
class ShardCache:
    """The folder and its bound.

    Attributes:
        folder: where files are kept.
        limit: bytes. Downloads under way count in full; they alone may exceed it, so it should hold
            a few shards for each process.
    """

    folder: Path
    limit: int

    def fetch(self, url: str, version: str, size: int) -> Path:
        """Return a local copy. It may be evicted before it is opened: then fetch again.

        Args:
            url: the remote file.
            version: changes where its content does.
            size: its bytes.

        Raises:
            ConfigError: it is larger than the whole cache.
            DataError: the remote is gone, fails again and again, or gives another size.
        """
        if size > self.limit:
            raise ConfigError(
                f"{url} has {size / 1e9:.3g} GB, and the cache for remote shards may hold "
                f"{self.limit / 1e9:.3g}: raise cache_gigabytes."
            )
        digest = hashlib.sha256(f"{url}\n{version}".encode()).hexdigest()[:32]
        path = self.folder / f"{digest}.{size}"
        if touched(path, size):
            return path
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the cache for remote shards cannot be made: {error}") from error
        # One process of all that want it downloads; the others wait.
        with self._lock(f".{digest[:2]}.lock"):
            if not touched(path, size):
                self._download(url, path, size)
        return path

    def _download(self, url: str, path: Path, size: int) -> None:
        part = path.with_name(path.name + _PART)
        try:
            part.touch()
            with self._lock(".evict.lock"):
                self._make_room()
            retried(lambda: _get(url, part, size), f"fetching {url}")
            os.replace(part, path)
        except FileNotFoundError:
            raise DataError(
                f"{url} was listed when the run started, and is gone from the remote."
            ) from None
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self) -> None:
        """Remove the files used least recently until the rest is within the limit."""
        files = sorted(_entries(self.folder))
        total = sum(size for _, size, _ in files)
        for used, size, path in files:
            stale = path.suffix == _PART and time.time() - used > _STALE_SECONDS
            if stale or (total > self.limit and path.suffix != _PART):
                path.unlink(missing_ok=True)
                total -= size

    def _lock(self, name: str) -> FileLock:
        return FileLock(self.folder / name)


def touched(path: Path, size: int) -> bool:
    """Note that a cached file is in use; False where it is gone or not whole."""
    with suppress(FileNotFoundError):
        os.utime(path)
        return path.stat().st_size == size
    return False


def _get(url: str, part: Path, size: int) -> None:
    remote, inside = filesystem(url, url)
    remote.get_file(inside, str(part))
    found = part.stat().st_size
    if found != size:
        raise OSError(f"{found} bytes came, {size} were listed when the run started")


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield (last use, bytes, path) of each file; a download counts with all it will be."""
    for path in folder.iterdir():
        size = path.name.removesuffix(_PART).rpartition(".")[2]
        if size.isdecimal():
            with suppress(FileNotFoundError):
                yield path.stat().st_mtime, int(size), path
