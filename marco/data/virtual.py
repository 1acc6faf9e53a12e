"""A corpus of which only the sizes are known: `data=marco_virtual`, for `marco plan`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from marco.data.settings import Data
from marco.errors import ConfigError
from marco.mixing.sources import OTHER_SOURCES, resolve
from marco.mixing.virtual_corpus import marco_corpus

_NO_TEXT = (
    "data: this corpus is only a table of sizes. It can be planned (marco plan), not trained on: "
    "put text in its place, such as data=files data.path=…"
)


@dataclass(frozen=True)
class VirtualData(Data):
    """Settings of a corpus without text.

    Attributes:
        sizes: tokens by language (any alias) or by `parallel`, `knowledge`, `synthetic`; null is
            what Marco-LLM collected (2412.04003, table 1).
    """

    sizes: dict[str, int] | None = None

    def __post_init__(self) -> None:
        if self.sizes is None:
            return
        if not self.sizes:
            raise ConfigError("data.sizes is empty: name a language and its tokens, or null.")
        for name, size in self.sizes.items():
            if size < 1:
                raise ConfigError(f"data.sizes.{name}={size}: at least 1 token.")
        self.source_sizes()

    def source_sizes(self) -> dict[str, int]:
        """Return the tokens of every source, by canonical code or name.

        Raises:
            ConfigError: an unknown name, or a language under two.
        """
        if self.sizes is None:
            return marco_corpus().sizes
        found: dict[str, int] = {}
        for name, size in self.sizes.items():
            source = resolve(name, (), f"data.sizes.{name}")
            if source in found:
                raise ConfigError(f"data.sizes.{name}: {source} has a size already.")
            found[source] = size
        return found

    def source_names(self) -> list[str]:
        """Return the names of the sources."""
        return list(self.source_sizes())

    def language_codes(self) -> list[str]:
        """Return the canonical codes of the sources that are languages."""
        return [name for name in self.source_sizes() if name not in OTHER_SOURCES]

    def check(self) -> NoReturn:
        """Raise ConfigError: what is about to train needs text."""
        raise ConfigError(_NO_TEXT)

    def load(self) -> NoReturn:
        """Raise ConfigError: there is no text to load."""
        raise ConfigError(_NO_TEXT)
