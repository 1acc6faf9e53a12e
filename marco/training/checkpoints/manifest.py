"""The manifest: what a checkpoint is, and the size and hash of each of its files."""

from __future__ import annotations

import importlib.metadata
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from marco.errors import CheckpointError
from marco.training.checkpoints.files import read_json, sha256_of, sha256_of_json, write_json

FORMAT = "marco-checkpoint"
FORMAT_VERSION = 2  # 1 knew the data's position by sequences alone
MANIFEST = "manifest.json"
_PACKAGES = ("marco-train", "torch", "transformers", "pytorch-lightning", "safetensors", "numpy")


class OtherFormatError(CheckpointError):
    """A checkpoint of another version of marco: perhaps sound, but not to be understood here."""


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and sha256 of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything a checkpoint says about itself; the tensors' shapes are in ``state/index.json``.

    ``files`` maps paths relative to the checkpoint, with forward slashes. ``written_at`` is UTC.
    """

    step: int
    tokens: int
    world_size: int
    architecture: str
    model_fingerprint: str
    tokenizer_fingerprint: str
    config: dict[str, Any]
    config_hash: str
    written_at: str
    packages: dict[str, str]
    files: dict[str, FileRecord]

    def write(self, path: Path) -> None:
        """Write ``manifest.json`` into the folder ``path``, with a digest over itself."""
        body = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(self)}
        write_json(path / MANIFEST, {**body, "digest": sha256_of_json(body)})


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of the checkpoint ``path``.

    Raises `CheckpointError` when it is missing, damaged, of another format, or names a file
    outside the checkpoint's folder.
    """
    body = read_json(path / MANIFEST)
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise CheckpointError(f"{path / MANIFEST} is not the manifest of a checkpoint of marco's")
    version = body.get("version")
    if isinstance(version, int) and version != FORMAT_VERSION:
        advice = "Update marco" if version > FORMAT_VERSION else "Use an earlier marco"
        raise OtherFormatError(
            f"{path} has checkpoint format {version}; this version of marco reads "
            f"{FORMAT_VERSION}. {advice} to read it."
        )
    digest = body.pop("digest", None)
    if digest != sha256_of_json(body):
        raise CheckpointError(f"{path / MANIFEST} is damaged: its digest does not match")
    try:
        files = {name: FileRecord(**record) for name, record in body["files"].items()}
        values = {field.name: body[field.name] for field in fields(Manifest)}
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path / MANIFEST} cannot be understood: {error}") from error
    for name in files:
        _inside(path, name)
    return Manifest(**{**values, "files": files})


def record_files(path: Path, hashed: dict[str, FileRecord]) -> dict[str, FileRecord]:
    """Return a record of each file under ``path``; those in ``hashed`` are not read again."""
    names = sorted(str(f.relative_to(path).as_posix()) for f in path.rglob("*") if f.is_file())
    return {
        name: hashed.get(name) or FileRecord((path / name).stat().st_size, sha256_of(path / name))
        for name in names
    }


def problems_of_files(path: Path, manifest: Manifest, *, hashes: bool) -> list[str]:
    """Return what is wrong with the files of ``path``, one line a file, each opening with its name.

    ``hashes=False`` looks at presence and size only (free), else every byte is read.
    """

    def problem(item: tuple[str, FileRecord]) -> str | None:
        name, record = item
        file = path / name
        try:
            size = file.stat().st_size
            if size != record.bytes:
                return f"{name} has {size:,} bytes instead of {record.bytes:,}"
            if hashes and sha256_of(file) != record.sha256:
                return f"{name} was altered: its sha256 does not match"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error}"
        return None

    # hashlib releases the GIL, and a big checkpoint has one file a process.
    with ThreadPoolExecutor(max_workers=4) as pool:
        return [found for found in pool.map(problem, manifest.files.items()) if found]


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide what a checkpoint means."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _inside(path: Path, name: str) -> None:
    # Resolved, so that a link inside the folder cannot lead out of it either.
    if not name or not (path / name).resolve().is_relative_to(path.resolve()):
        raise CheckpointError(f"{path / MANIFEST} names {name!r}, outside the checkpoint's folder")
