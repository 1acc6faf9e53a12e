"""Memory-mapped files, few at a time and without growing: what the shard store reads through."""

from __future__ import annotations

import mmap
import os
import time
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from marco.data.remote import is_local
from marco.data.shard_cache import ShardCache, touched
from marco.errors import DataError

# Linux maps this much around a page that was asked for.
_AROUND = max(1 << 16, mmap.PAGESIZE)
_TOUCH_SECONDS = 60.0
_EVICTIONS = 10


class MappedFile:
    """One file, mapped for reading.

    Args:
        path: the file.
        size: the bytes it must have.
        evictable: it is in the cache, where others may remove it.
    """

    def __init__(self, path: Path, size: int, evictable: bool) -> None:
        self.path = path
        self.size = size
        self.evictable = evictable
        self._touched = time.monotonic()
        with path.open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                raise DataError(
                    f"{path} has {found} bytes, and had {size} when the run started: it was "
                    "written to. Start again."
                )
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        # The kernel reads ahead around a fault: megabytes for the few kB of a random read.
        self._map.madvise(mmap.MADV_RANDOM)

    def copy(self, dtype: DTypeLike, start: int, stop: int) -> NDArray[Any]:
        """Return elements `start` to `stop` (exclusive) as an array of their own.

        The pages are asked for in one piece and given back at once: a process that reads its way
        through a terabyte stays small, and the system's page cache still has them.
        """
        width = np.dtype(dtype).itemsize
        first, last = start * width, stop * width
        self._advise(mmap.MADV_WILLNEED, first, last, mmap.PAGESIZE)
        array = np.frombuffer(self._map, dtype, stop - start, first).copy()
        self._advise(mmap.MADV_DONTNEED, first, last, _AROUND)
        return array

    def _advise(self, advice: int, first: int, last: int, unit: int) -> None:
        begin = first // unit * unit
        self._map.madvise(advice, begin, min(-(-last // unit) * unit, self.size) - begin)

    def keep_fresh(self) -> None:
        """Tell the cache's other users, now and then, that this file is in use."""
        if self.evictable and time.monotonic() - self._touched > _TOUCH_SECONDS:
            self._touched = time.monotonic()
            touched(self.path, self.size)


class OpenMaps:
    """The files a process has mapped: the `limit` that were used last.

    One for all stores of a process, since a map holds a file descriptor and these are what a
    process has few of (often 1,024).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._maps: OrderedDict[tuple[str, str], MappedFile] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._maps)

    def get(self, path: str, version: str, size: int, cache: ShardCache | None) -> MappedFile:
        """Return the file at `path`, a local one or a URL that goes through `cache`.

        Raises:
            DataError: it is gone, of another size, or cannot be fetched.
        """
        key = path, version
        with self._lock:
            found = self._maps.get(key)
            if found is not None:
                self._maps.move_to_end(key)
        if found is not None:
            found.keep_fresh()
            return found
        opened = _open(path, version, size, cache)
        with self._lock:
            found = self._maps.setdefault(key, opened)
            self._maps.move_to_end(key)
            if opened.evictable:
                self._let_go()
            while len(self._maps) > self._limit:
                self._maps.popitem(last=False)
        return found

    def _let_go(self) -> None:
        """Unmap what was evicted: the disk has its room back only then."""
        for key, file in list(self._maps.items()):
            if file.evictable and not file.path.exists():
                del self._maps[key]


def _open(path: str, version: str, size: int, cache: ShardCache | None) -> MappedFile:
    try:
        if is_local(path):
            return MappedFile(Path(path), size, evictable=False)
        assert cache is not None
        for _ in range(_EVICTIONS):
            local = cache.fetch(path, version, size)
            try:
                return MappedFile(local, size, evictable=True)
            except FileNotFoundError:  # evicted between the two lines
                continue
    except FileNotFoundError:
        raise DataError(
            f"{path} was there when the run started, and is gone. Put it back, and resume."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    raise DataError(
        f"{path} was evicted from {cache.folder} {_EVICTIONS} times before it could be opened: "
        "raise cache_gigabytes."
    )


#: The maps of this process.
MAPS = OpenMaps(256)
