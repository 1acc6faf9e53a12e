"""A source made of token shards, here or elsewhere: `_target_: marco.data.shards.Shards`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from marco.data.fingerprint import by_folder, check_stamps
from marco.data.settings import SourceSettings
from marco.data.shard_cache import ShardCache
from marco.data.shard_listing import ShardListing, list_shards
from marco.data.shard_store import ShardStore
from marco.data.stores import SEVERAL, Source
from marco.errors import ConfigError
from marco.kernels.cache_folder import cache_folder
from marco.languages import get

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer


@dataclass(frozen=True)
class Shards(SourceSettings):
    """Settings of a source of `.ds` shards, as datatrove's DocumentTokenizer and merger write them.

    Attributes:
        path: a folder (not its subfolders), a shard, a glob of either, or a list of these: local,
            or s3://, gs://, hf:// and whatever else fsspec knows. Read in the order of the list,
            and sorted by path within each entry.
        language: the text's language, or "mul"; None: the source's name is one.
        unstamped: accept folders without marco.json, which says which tokenizer wrote them; ids
            that the tokenizer does not have are still refused.
        cache_gigabytes: of the local copies of remote shards, over all sources that share
            `cache_dir`. Whole shards are fetched: hold a few for each process.
        cache_dir: where; None: the folder "shards" in $MARCO_CACHE or ~/.cache/marco.
    """

    path: str | list[str]
    language: str | None = None
    unstamped: bool = False
    cache_gigabytes: float = 100.0
    cache_dir: str | None = None

    def check(self, where: str) -> None:
        """List the shards and look at their sizes and stamps.

        Args:
            where: the key of these settings, such as "data.sources.swh".

        Raises:
            ConfigError: a wrong value; nothing at `path`; no stamp.
            DataError: a shard is damaged; a remote fails.
        """
        if not self.cache_gigabytes > 0:
            raise ConfigError(f"{where}.cache_gigabytes={self.cache_gigabytes}: more than 0.")
        if self.language is not None and self.language != SEVERAL:
            try:
                get(self.language)
            except ConfigError as error:
                raise ConfigError(f"{where}.language: {error}") from None
        check_stamps(self._list(where), None, self.unstamped, where)

    def check_tokenizer(self, tokenizer: Callable[[], Tokenizer], where: str) -> None:
        """Raise ConfigError where the stamps name another tokenizer."""
        check_stamps(self._list(where), tokenizer(), self.unstamped, where)

    def open(self, name: str, language: str, tokenizer: Tokenizer) -> Source:
        """List the shards, see that `tokenizer` wrote them, and return the source.

        Raises:
            ConfigError, DataError: as `check` does; another tokenizer.
        """
        where = f"data.sources.{name}"
        listing = self._list(where)
        check_stamps(listing, tokenizer, self.unstamped, where)
        store = ShardStore(listing, tokenizer.end_of_text, len(tokenizer), self._cache())
        sizes = repr(sorted(by_folder(listing).values(), key=repr))
        content = hashlib.sha256(sizes.encode()).hexdigest()
        return Source(name, language, store, tokenizer.end_of_text, content=content)

    def _cache(self) -> ShardCache:
        own = Path(self.cache_dir).expanduser() if self.cache_dir else cache_folder() / "shards"
        return ShardCache(own.absolute(), int(self.cache_gigabytes * 1e9))

    def _list(self, where: str) -> ShardListing:
        listing = list_shards(self.path, where)
        largest = int(listing.tokens.max()) * listing.token_bytes
        if listing.remote and largest > self._cache().limit:
            raise ConfigError(
                f"{where}.cache_gigabytes={self.cache_gigabytes:g}: the largest shard alone has "
                f"{largest / 1e9:.3g} GB."
            )
        return listing
