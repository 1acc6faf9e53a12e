"""The file of what tuning found, which processes of one machine or of many may share."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import torch
import triton  # type: ignore[import-untyped]

from marco.kernels.cache_folder import cache_folder
from marco.kernels.device import Device

#: Seconds to wait for another process: to compile and time a few candidates takes less.
PATIENCE = 120.0


def tuning_file(device: Device) -> Path:
    """Results are those of one GPU model, one compiler and one state of the kernels."""
    versions = f"triton-{triton.__version__} torch-{torch.__version__}"
    name = f"{device.name} {device.arch} {versions} {source_hash(Path(__file__).parent)}"
    return cache_folder() / "tuning" / (re.sub(r"[^\w.+-]+", "_", name) + ".json")


@cache
def source_hash(folder: Path) -> str:
    """Of all kernels: if one is edited all are tuned again, which takes about a minute."""
    digest = sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def read(path: Path) -> dict[str, Any]:
    """What any process found, by op and shape class; a file that cannot be read counts as none."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def add(path: Path, key: str, options: Mapping[str, int]) -> None:
    """Atomically, to what other processes found meanwhile; a full disk costs only the file."""
    known = {**read(path), key: dict(options)}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, suffix=".json")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(known, file, indent=1, sort_keys=True)
            Path(beside).replace(path)
        except OSError:
            Path(beside).unlink(missing_ok=True)


@contextmanager
def turn(path: Path, key: str) -> Iterator[bool]:
    """Wait until no other process tunes `key`; False where one still does after `PATIENCE`.

    Classes are locked one by one: a rank that tunes waits for its collectives, which need ranks
    that may be at another class by then. A process that dies lets go. Where no file can be locked
    (a folder that cannot be written), nobody waits.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_suffix(".lock").open("wb")
    except OSError:
        yield True
        return
    with file:
        yield _locked(file, crc32(key.encode()))


def _locked(file: IO[bytes], place: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        except OSError:
            return True
        else:
            return True
