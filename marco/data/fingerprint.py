"""Which tokenizer wrote a folder of shards: `marco.json` beside them, so that no other reads them.

{"tokenizer": "qwen2", "fingerprint": "<SHA-256>", "shards": {"000_swh.ds": <bytes>, …}}

The shards are named with their sizes, so one that is added or rewritten later is not taken for a
stamped one.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.data.remote import filesystem, is_local, retried
from marco.data.shard_listing import ShardListing, list_shards, shard_folders
from marco.data.shard_store import ShardStore
from marco.errors import ConfigError, DataError

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer

STAMP = "marco.json"


@dataclass(frozen=True)
class Stamp:
    """What a folder's stamp says.

    Attributes:
        tokenizer: its name, for messages.
        fingerprint: `Tokenizer.fingerprint`.
        shards: file name → bytes.
    """

    tokenizer: str
    fingerprint: str
    shards: dict[str, int]


def stamp(folder: str | Path, tokenizer: Tokenizer) -> int:
    """Say that `tokenizer` wrote the shards of a folder, or of each of a glob; return how many.

    Local shards are opened and checked first, remote ones only by their sizes. Another stamp is
    replaced, atomically.

    Raises:
        ConfigError: there are no shards.
        DataError: a shard is damaged, or its documents do not end with the end-of-text token.
    """
    # each folder by itself: a source with loss masks, or tokens of 4 bytes, stands beside others
    listings = [list_shards(place, "stamp") for place in shard_folders(str(folder), "stamp")]
    for listing in listings:
        if not listing.remote:
            ShardStore(listing, tokenizer.end_of_text, len(tokenizer)).check()
    for listing in listings:
        for place, shards in by_folder(listing).items():
            content = {
                "tokenizer": tokenizer.name,
                "fingerprint": tokenizer.fingerprint,
                "shards": shards,
            }
            _write(f"{place}/{STAMP}", json.dumps(content, indent=1, ensure_ascii=False).encode())
    return sum(len(listing.paths) for listing in listings)


def check_stamps(
    listing: ShardListing, tokenizer: Tokenizer | None, unstamped: bool, where: str
) -> None:
    """Refuse shards that another tokenizer wrote, or nobody knows which.

    Args:
        listing: the shards.
        tokenizer: the run's; None: only see that all are stamped.
        unstamped: accept folders without a stamp.
        where: the source's key.

    Raises:
        ConfigError: another tokenizer, or no stamp.
        DataError: a stamp that cannot be read, or a shard whose size it does not confirm.
    """
    for folder, shards in by_folder(listing).items():
        found = read_stamp(folder)
        if found is None:
            if unstamped:
                continue
            raise ConfigError(
                f"{where}.path: nothing says which tokenizer wrote the shards in {folder}. If you "
                f"know: `marco stamp path={folder} tokenizer=…`; or set {where}.unstamped=true."
            )
        if tokenizer is not None and found.fingerprint != tokenizer.fingerprint:
            raise ConfigError(
                f"{where}.path: the shards in {folder} were written with the tokenizer "
                f"'{found.tokenizer}' ({found.fingerprint[:12]}…), and the run's is "
                f"'{tokenizer.name}' ({tokenizer.fingerprint[:12]}…)."
            )
        for name, size in shards.items():
            if found.shards.get(name) != size:
                was = found.shards.get(name)
                what = "is not in it" if was is None else f"had {was} bytes then, and has {size}"
                raise DataError(
                    f"{folder}/{STAMP}: {name} {what}. If it is in order: `marco stamp "
                    f"path={folder} tokenizer=…` again."
                )


def by_folder(listing: ShardListing) -> dict[str, dict[str, int]]:
    """Return folder → (name → bytes) of the shards."""
    folders: dict[str, dict[str, int]] = {}
    for path, tokens in zip(listing.paths, listing.tokens.tolist(), strict=True):
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, {})[name] = tokens * listing.token_bytes
    return folders


def read_stamp(folder: str) -> Stamp | None:
    """Return a folder's stamp, if it has one. Raises DataError for one that cannot be read."""
    path = f"{folder}/{STAMP}"
    files, inside = filesystem(path, path)
    try:
        data = retried(lambda: files.cat_file(inside), f"reading {path}")
    except FileNotFoundError:
        return None
    try:
        content: dict[str, Any] = json.loads(data)
        return Stamp(
            tokenizer=str(content["tokenizer"]),
            fingerprint=str(content["fingerprint"]),
            shards={str(name): int(size) for name, size in content["shards"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no stamp of marco's ({error!r}): remove it, and `marco stamp` the folder."
        ) from error


def _write(path: str, data: bytes) -> None:
    if not is_local(path):
        files, inside = filesystem(path, path)
        retried(lambda: files.pipe_file(inside, data), f"writing {path}")
        return
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(temporary).chmod(0o644)
    os.replace(temporary, target)
