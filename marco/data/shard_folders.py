"""A folder of token shards, a subfolder for each source: `data=shards data.path=…`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marco.data.documents import Corpus
from marco.data.mixture import Mixture
from marco.data.remote import subfolders
from marco.data.settings import Data
from marco.data.shards import Shards
from marco.data.stores import Source
from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer


@dataclass(frozen=True)
class ShardFolders(Data):
    """Settings of folders of shards, as `marco.data.shards.Shards` reads each.

    Attributes:
        path: the folder, here or remote; its subfolders are named as the sources are: languages
            (any alias), or parallel, knowledge, synthetic.
        sources: the subfolders to read; None: all.
        languages: the language of those subfolders that are named otherwise.
        held_out: a corpus whose held-out text is evaluated; None: nothing is.
        unstamped, cache_gigabytes, cache_dir: see `Shards`.
    """

    path: str
    sources: list[str] | None = None
    languages: dict[str, str] | None = None
    held_out: Data | None = None
    unstamped: bool = False
    cache_gigabytes: float = 100.0
    cache_dir: str | None = None

    def language_codes(self) -> list[str]:
        """See `Data`."""
        return self._mixture().language_codes()

    def source_names(self) -> list[str]:
        """See `Data`."""
        return self._mixture().source_names()

    def holds_out(self) -> bool:
        """See `Data`."""
        return self.held_out is not None

    def gives_text(self) -> bool:
        """See `Data`: only held-out text."""
        return False

    def check(self) -> None:
        """See `Data`; messages name this option's keys, not those of a `data.sources`."""
        if self.held_out is not None:
            self.held_out.check()
        for settings in self._mixture().sources.values():
            settings.check("data")

    def check_tokenizer(self, tokenizer: Callable[[], Tokenizer]) -> None:
        """See `Data`; messages name this option's keys."""
        for settings in self._mixture().sources.values():
            settings.check_tokenizer(tokenizer, "data")

    def load(self) -> Corpus:
        """See `Data`: no more than the held-out text."""
        return self._mixture().load()

    def open_sources(self, corpus: Corpus, tokenizer: Tokenizer) -> list[Source]:
        """See `Data`."""
        return self._mixture().open_sources(corpus, tokenizer)

    def _mixture(self) -> Mixture:
        found = subfolders(self.path, "data.path")
        wanted = found if self.sources is None else self.sources
        for name in wanted:
            if name not in found:
                raise ConfigError(
                    f"data.sources: no folder '{name}' in {self.path}.{nearest(name, found)}"
                )
        languages = self.languages or {}
        for name in languages:
            if name not in wanted:
                raise ConfigError(
                    f"data.languages.{name}: no such source.{nearest(name, list(wanted))}"
                )
        return Mixture(
            {
                name: Shards(
                    f"{self.path.rstrip('/')}/{name}",
                    languages.get(name),
                    self.unstamped,
                    self.cache_gigabytes,
                    self.cache_dir,
                )
                for name in wanted
            },
            held_out=self.held_out,
        )
