"""What options of data share that are a mixture put together for the user."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from marco.data.documents import Corpus
from marco.data.mixture import Mixture
from marco.data.settings import Data
from marco.data.stores import Source

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer


class OfMixture(Data):
    """A corpus whose sources are found, or made, by its settings; no text for a vocabulary."""

    @abstractmethod
    def _mixture(self) -> Mixture:
        """Return the sources and the held-out text."""

    def language_codes(self) -> list[str]:
        """See `Data`."""
        return self._mixture().language_codes()

    def source_names(self) -> list[str]:
        """See `Data`."""
        return self._mixture().source_names()

    def holds_out(self) -> bool:
        """See `Data`."""
        return self._mixture().holds_out()

    def gives_text(self) -> bool:
        """See `Data`: only held-out text."""
        return False

    def check(self) -> None:
        """See `Data`; messages name the option's keys, not those of a `data.sources`."""
        mixture = self._mixture()
        if mixture.held_out is not None:
            mixture.held_out.check()
        for settings in mixture.sources.values():
            settings.check("data")

    def check_tokenizer(self, tokenizer: Callable[[], Tokenizer]) -> None:
        """See `Data`; messages name the option's keys."""
        for settings in self._mixture().sources.values():
            settings.check_tokenizer(tokenizer, "data")

    def load(self) -> Corpus:
        """See `Data`: no more than the held-out text."""
        return self._mixture().load()

    def open_sources(self, corpus: Corpus, tokenizer: Tokenizer) -> list[Source]:
        """See `Data`."""
        return self._mixture().open_sources(corpus, tokenizer)
