"""What shards there are: one listing of each folder, whose sizes say what the shards hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from glob import has_magic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from marco.data.remote import filesystem, is_local, retried
from marco.data.shard_sizes import (
    ENTRY_BYTES,
    INDEX,
    LOSS,
    SHARD,
    ShardFile,
    check_sizes,
    holds_documents,
    token_bytes_of,
)
from marco.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

log = logging.getLogger(__name__)

# What tells one content of a file from another, on the different file systems.
_VERSIONS = ("ETag", "etag", "md5Hash", "blob_id", "LastModified", "updated", "mtime", "created")


@dataclass(frozen=True)
class ShardListing:
    """Shards in the order they are read, empty ones left out.

    Attributes:
        paths: of the `.ds` files: absolute paths, or URLs.
        versions: one text a shard, different where its content is.
        token_bytes: 2 or 4.
        tokens: [shards] int64.
        documents: [shards] int64.
        loss: whether every shard has a mask of the tokens to learn from.
    """

    paths: tuple[str, ...]
    versions: tuple[str, ...]
    token_bytes: int
    tokens: NDArray[np.int64]
    documents: NDArray[np.int64]
    loss: bool

    @property
    def remote(self) -> bool:
        """Whether any of them is elsewhere."""
        return not all(map(is_local, self.paths))


def list_shards(path: str | Sequence[str], where: str) -> ShardListing:
    """List shards, sorted by path.

    Nothing of the shards is opened but the first one's `.ds.metadata`, or the end of its index, to
    learn the size of a token.

    Args:
        path: a folder (its own `*.ds`; its subfolders are not looked into), a shard, or a glob of
            either; or several of these, read in their order. Local, or as fsspec names it.
        where: the key to blame for a wrong `path`.

    Raises:
        ConfigError: nothing is there, or the same shard is named twice.
        DataError: sizes that no shard has, a shard without an index; a remote that fails.
    """
    shards: dict[str, ShardFile] = {}
    for pattern in [path] if isinstance(path, str) else path:
        for shard in _listed(pattern, where):
            if shard.path in shards:
                raise ConfigError(f"{where}.path: {shard.path} is named twice.")
            shards[shard.path] = shard
    full = [shard for shard in shards.values() if holds_documents(shard)]
    if len(full) < len(shards):  # datatrove leaves them where a task had nothing to write
        log.warning("%s: %d of %d shards are empty.", where, len(shards) - len(full), len(shards))
    if not full:
        raise DataError(f"{where}.path={path}: no shard there, or only empty ones.")
    token_bytes = token_bytes_of(full[0], where)
    for shard in full:
        check_sizes(shard, token_bytes)
    with_loss = sum(shard.loss is not None for shard in full)
    if 0 < with_loss < len(full):
        lacking = next(shard.path for shard in full if shard.loss is None)
        raise DataError(
            f"{where}: {with_loss} of {len(full)} shards have a loss mask ({LOSS}), and {lacking} "
            "has none. Write all with save_loss_metadata=True, or name two sources."
        )
    return ShardListing(
        paths=tuple(shard.path for shard in full),
        versions=tuple(shard.version for shard in full),
        token_bytes=token_bytes,
        tokens=np.array([shard.size for shard in full], np.int64) // token_bytes,
        documents=np.array([shard.index for shard in full], np.int64) // ENTRY_BYTES,
        loss=with_loss > 0,
    )


def shard_folders(path: str, where: str) -> list[str]:
    """Return the folders that hold the shards of `path`, sorted; as `list_shards`, unchecked."""
    return sorted({shard.path.rpartition("/")[0] for shard in _listed(path, where)})


def _listed(pattern: str, where: str) -> Iterator[ShardFile]:
    files, root = filesystem(pattern, f"{where}.path")
    wanted, folders = _matches(files, root, pattern, where)
    parents = {name.rpartition("/")[0] for name in wanted}
    entries: dict[str, dict[str, Any]] = {}
    for folder in sorted(folders | parents):
        listed = retried(partial(files.ls, folder, detail=True), f"listing {_url(files, folder)}")
        inside = {str(entry["name"]): entry for entry in listed}
        entries.update(inside)
        if folder in folders:
            wanted.update(name for name in inside if name.endswith(SHARD))
    if not wanted:
        raise ConfigError(
            f"{where}.path={pattern}: no token shards (*{SHARD}) there. Subfolders are not looked "
            f"into: for these write '{pattern.rstrip('/')}/*'."
        )
    for name in sorted(wanted):
        mine = [entries.get(name.removesuffix(SHARD) + end) for end in (SHARD, INDEX, LOSS)]
        size, index, loss = (None if entry is None else int(entry["size"]) for entry in mine)
        yield ShardFile(
            path=_url(files, name),
            version="/".join(_version(entry) for entry in mine if entry is not None),
            size=size or 0,
            index=index,
            loss=loss,
        )


def _matches(
    files: AbstractFileSystem, root: str, pattern: str, where: str
) -> tuple[set[str], set[str]]:
    """Return the shards and the folders that a path or glob names."""
    found = [root.rstrip("/")] if _kind(files, root) else []
    if not found and has_magic(root):
        found = retried(partial(files.glob, root), f"listing {pattern}")
    if not found:
        folder, _, name = root.rstrip("/").rpartition("/")
        names = files.ls(folder, detail=False) if _kind(files, folder) == "directory" else []
        guess = nearest(name, [str(other).rpartition("/")[2] for other in names])
        raise ConfigError(f"{where}.path={pattern}: nothing is there.{guess}")
    shards = {name for name in found if name.endswith(SHARD)}
    folders = {name for name in found if name not in shards and _kind(files, name) == "directory"}
    return shards, folders


def _kind(files: AbstractFileSystem, name: str) -> str | None:
    """Return "file" or "directory"; None where nothing is. (`exists` calls a failure nothing.)"""
    try:
        return str(retried(partial(files.info, name), f"looking for {_url(files, name)}")["type"])
    except FileNotFoundError:
        return None


def _url(files: AbstractFileSystem, name: str) -> str:
    """Return what names a file everywhere: a local one's path, another one's URL."""
    protocols = [files.protocol] if isinstance(files.protocol, str) else files.protocol
    return name if "file" in protocols else str(files.unstrip_protocol(name))


def _version(entry: dict[str, Any]) -> str:
    return next((str(entry[key]) for key in _VERSIONS if entry.get(key) is not None), "")
