"""A folder of token shards, a subfolder for each source: `data=shards data.path=…`."""

from __future__ import annotations

from dataclasses import dataclass

from marco.data.mixture import Mixture
from marco.data.of_mixture import OfMixture
from marco.data.remote import subfolders
from marco.data.settings import Data
from marco.data.shards import Shards
from marco.errors import ConfigError, nearest


@dataclass(frozen=True)
class ShardFolders(OfMixture):
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
