"""What `conf/data` configures: a whole corpus, or one source of a composed one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from marco.data.documents import Corpus

if TYPE_CHECKING:
    from marco.data.stores import Source
    from marco.tokenizers import Tokenizer


class Data(ABC):
    """A corpus: what is trained on, and what is held out for evaluation."""

    @abstractmethod
    def language_codes(self) -> list[str]:
        """Return the canonical codes of the languages that are evaluated, in order."""

    @abstractmethod
    def check(self) -> None:
        """Raise ConfigError or DataError for what can be seen without reading the text."""

    def check_tokenizer(self, tokenizer: Callable[[], Tokenizer]) -> None:
        """Raise ConfigError where there are tokens that another tokenizer made.

        Args:
            tokenizer: loads the run's; only called where there are tokens.
        """
        return  # text has no tokens yet

    @abstractmethod
    def load(self) -> Corpus:
        """Read the documents: what is held out, and what an own tokenizer is trained on."""

    def source_names(self) -> list[str]:
        """Return the names that the mix gives shares to."""
        return self.language_codes()

    def holds_out(self) -> bool:
        """Whether there is held-out text."""
        return True

    def gives_text(self) -> bool:
        """Whether `load` returns text to train on, and so an own tokenizer."""
        return True

    def gives_pairs(self) -> bool:
        """Whether its sources are pairs of answers, which only preference objectives train on."""
        return False

    def open_sources(self, corpus: Corpus, tokenizer: Tokenizer) -> list[Source]:
        """Return the sources, in the order of `source_names`; `corpus` is what `load` returned."""
        from marco.data.token_cache import content_hash, tokenised

        return [
            tokenised(code, code, documents, content_hash(documents), tokenizer)
            for code, documents in corpus.train.items()
        ]


class SourceSettings(ABC):
    """One source of a composed corpus (`data=mixture`).

    Settings that derive have a field `language`: None where the source's name is one.
    """

    language: str | None

    @abstractmethod
    def check(self, where: str) -> None:
        """Raise ConfigError or DataError, naming the key `where`, before anything starts."""

    def check_tokenizer(self, tokenizer: Callable[[], Tokenizer], where: str) -> None:
        """As `Data.check_tokenizer`, naming the key `where`."""
        return

    @abstractmethod
    def open(self, name: str, language: str, tokenizer: Tokenizer) -> Source:
        """Return the source; text is tokenised the first time.

        Raises:
            ConfigError, DataError: it cannot be used.
        """
