"""A corpus put together from sources of different kinds: `data=mixture`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from marco.data.documents import Corpus
from marco.data.settings import Data, SourceSettings
from marco.data.stores import SEVERAL, Source
from marco.errors import ConfigError
from marco.languages import get
from marco.mixing.sources import OTHER_SOURCES
from marco.tokenizers import Tokenizer


@dataclass(frozen=True)
class Mixture(Data):
    """Settings of a composed corpus.

    Attributes:
        sources: by their names in the mix. A source that is named as a language (any alias) and
            sets no `language` is that language; "parallel", "knowledge" and "synthetic" hold
            several languages unless they say otherwise.
        base: another corpus: its languages are sources too, and its held-out text is evaluated.
        held_out: a corpus of which only the held-out text is used, in place of `base`'s.
    """

    sources: dict[str, SourceSettings]
    base: Data | None = None
    held_out: Data | None = None

    def __post_init__(self) -> None:
        if not self.sources and self.base is None:
            raise ConfigError("data.sources is empty: name at least one source, or a data.base.")
        names = self.source_names()
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"data.sources: {', '.join(twice)} twice (as a language of data.base, or under "
                "another alias); give one of them another name, and its language."
            )

    def language_codes(self) -> list[str]:
        """See `Data`; without held-out text, the languages of the sources."""
        evaluated = self.held_out or self.base
        if evaluated is not None:
            return evaluated.language_codes()
        found = dict.fromkeys(language for _, language, _ in self._named())
        return [language for language in found if language != SEVERAL]

    def source_names(self) -> list[str]:
        """See `Data`: the base's first."""
        names = [] if self.base is None else self.base.source_names()
        return [*names, *(name for name, _, _ in self._named())]

    def holds_out(self) -> bool:
        """See `Data`."""
        evaluated = self.held_out or self.base
        return evaluated is not None and evaluated.holds_out()

    def gives_text(self) -> bool:
        """See `Data`: what `base` gives."""
        return self.base is not None and self.base.gives_text()

    def check(self) -> None:
        """See `Data`."""
        for corpus in (self.base, self.held_out):
            if corpus is not None:
                corpus.check()
        for name, settings in self.sources.items():
            settings.check(f"data.sources.{name}")

    def check_tokenizer(self, tokenizer: Callable[[], Tokenizer]) -> None:
        """See `Data`."""
        if self.base is not None:
            self.base.check_tokenizer(tokenizer)
        for name, settings in self.sources.items():
            settings.check_tokenizer(tokenizer, f"data.sources.{name}")

    def load(self) -> Corpus:
        """See `Data`: the documents of `base`, and of `held_out` what is held out."""
        base = Corpus({}, {}) if self.base is None else self.base.load()
        if self.held_out is None:
            return base
        other = self.held_out.load()
        return Corpus(base.train, other.held_out, base.notes + other.notes)

    def open_sources(self, corpus: Corpus, tokenizer: Tokenizer) -> list[Source]:
        """See `Data`."""
        found = [] if self.base is None else self.base.open_sources(corpus, tokenizer)
        for name, language, settings in self._named():
            found.append(settings.open(name, language, tokenizer))
        return found

    def _named(self) -> list[tuple[str, str, SourceSettings]]:
        """Return (name in the mix, language, settings) of every source."""
        found = []
        for key, settings in self.sources.items():
            if settings.language is not None:
                name, language = key, _language(settings.language, f"data.sources.{key}.language")
            elif key in OTHER_SOURCES:
                name, language = key, SEVERAL
            else:
                name = language = _language(key, f"data.sources.{key}")
            found.append((name, language, settings))
        return found


def _language(word: str, where: str) -> str:
    if word == SEVERAL:
        return word
    try:
        return get(word).code
    except ConfigError as error:
        raise ConfigError(f"{where}: {error} Or set the source's language.") from None
