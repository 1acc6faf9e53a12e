"""Files that are either wholly there or not there: fsync, rename, hashes, JSON."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from marco.errors import CheckpointError


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """Return the sha256 of ``value`` in its one canonical JSON form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_json(value: Any, where: str) -> None:
    """Raise `CheckpointError` unless ``value`` survives JSON (tuples come back as lists).

    JSON turns a number used as a key into a string without a word; here that is an error that
    names the place, because a counter keyed by number would be lost on resume.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return
    if isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            check_json(item, f"{where}[{position}]")
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise CheckpointError(f"{where} has the key {key!r}: keys must be strings")
            check_json(item, f"{where}.{key}")
        return
    raise CheckpointError(
        f"{where} is a {type(value).__name__}: a checkpoint keeps JSON (None, bool, int, float, "
        "str, list, dict with string keys)"
    )


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as UTF-8 JSON and wait until it is on the disk."""
    with path.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, ensure_ascii=False, indent=1)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def replace_json(path: Path, value: Any) -> None:
    """Write ``value`` beside ``path`` and rename it over, so that a reader sees old or new."""
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        write_json(beside, value)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """Read a JSON file; `CheckpointError` names the file when it cannot be read or understood."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` (creations, renames) survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
