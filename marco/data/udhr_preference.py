"""Preferences made of the Declaration of Human Rights: its articles, continued well or not.

A prompt is the beginning of an article, the chosen answer its own end. The rejected answer is wrong
in one of three ways that a multilingual model can be wrong: the right content in another language
(language confusion), the right language with another article's content, or the right words in no
order. Which, where the article is cut, and what stands in its place is drawn by a hash of the seed
and the article's text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from marco.data.documents import Corpus, Document
from marco.data.pair_hash import texts_id, uniform
from marco.data.preference import PreferenceData
from marco.data.preference_rows import Pair
from marco.data.udhr import Udhr
from marco.errors import ConfigError, nearest

LANGUAGE, ARTICLE, SHUFFLED = "language", "article", "shuffled"
KINDS = (LANGUAGE, ARTICLE, SHUFFLED)

_SHORTEST, _LONGEST = 0.25, 0.75  # share of an article that is prompt


@dataclass(frozen=True, kw_only=True)
class UdhrPreference(PreferenceData):
    """Settings of the embedded preferences.

    Attributes:
        languages: as in `Udhr`; two, at least.
        train_articles, held_out_articles: as in `Udhr`.
        pairs_per_article: how many, each cut elsewhere.
        rejected: weight of each way to be wrong: language, article, shuffled; absent is 0.
        seed: of all draws.
    """

    languages: list[str]
    train_articles: str = "0-25"
    held_out_articles: str = "26-30"
    pairs_per_article: int = 3
    rejected: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pairs_per_article < 1:
            raise ConfigError(f"data.pairs_per_article={self.pairs_per_article}: at least 1.")
        for kind, weight in self.rejected.items():
            if kind not in KINDS:
                raise ConfigError(
                    f"data.rejected.{kind}: one of {', '.join(KINDS)}.{nearest(kind, list(KINDS))}"
                )
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"data.rejected.{kind}={weight}: a finite number, 0 or more.")
        if not any(self.rejected.values()):
            raise ConfigError("data.rejected: no weight is above 0.")

    def language_codes(self) -> list[str]:
        """See `Data`."""
        return self._udhr().language_codes()

    def check(self) -> None:
        """See `Data`."""
        super().check()
        if len(self.language_codes()) < 2 and self.rejected.get(LANGUAGE):
            raise ConfigError(
                f"data.languages={self.languages}: an answer in another language needs a second."
            )

    def load(self) -> Corpus:
        """See `Data`: the articles, of which `corpus.train` becomes pairs."""
        return self._udhr().load()

    def pairs(self, code: str, corpus: Corpus) -> Iterator[Pair]:
        """See `PreferenceData`."""
        yield from build(code, corpus.train, self.pairs_per_article, self.rejected, self.seed)

    def _udhr(self) -> Udhr:
        return Udhr(self.languages, self.train_articles, self.held_out_articles)


def build(
    code: str,
    documents: Mapping[str, list[Document]],
    each: int,
    weights: Mapping[str, float],
    seed: int,
) -> Iterator[Pair]:
    """Yield the pairs of a language.

    Args:
        code: the prompts' and the chosen answers' language.
        documents: by language; those of equal `parallel_id` say the same.
        each: pairs from every document.
        weights: of `KINDS`. A way for which a document has nothing (no translation, say) is left
            out of its draw; where that leaves none it gives no pairs.
        seed: of all draws.
    """
    texts = {
        language: {str(document.parallel_id): document.text for document in found}
        for language, found in documents.items()
    }
    for article, text in texts[code].items():
        id_ = texts_id({code: text})
        others = {
            LANGUAGE: [
                found[article]
                for other, found in texts.items()
                if other != code and article in found
            ],
            ARTICLE: [found for other, found in texts[code].items() if other != article],
            SHUFFLED: [text],
        }
        possible = {kind: weight for kind, weight in weights.items() if weight and others[kind]}
        for number in range(each if possible else 0):

            def draw(purpose: str, id_: bytes = id_, number: int = number) -> float:
                return uniform(seed, id_, f"{purpose} {number}")

            share = _SHORTEST + (_LONGEST - _SHORTEST) * draw("cut")
            prompt, chosen = cut(text, share)
            kind = _weighted(possible, draw("kind"))
            other = others[kind][int(draw("other") * len(others[kind]))]
            _, rejected = cut(other, share)
            if kind == SHUFFLED:
                rejected = shuffled(rejected, draw)
            yield Pair(prompt, chosen, rejected)


def cut(text: str, share: float) -> tuple[str, str]:
    """Cut a text after about `share` of its characters: before a space, where one is near.

    Scripts that write no spaces are cut between letters, never before a mark that belongs to one.
    """
    middle = round(share * len(text))
    spaces = [match.start() for match in re.finditer(r"\s+", text) if match.start()]
    at = min(spaces, key=lambda place: abs(place - middle), default=0)
    if not at or abs(at - middle) > len(text) / 8:
        at = max(1, middle)
        while at < len(text) - 1 and _is_mark(text[at]):
            at += 1
    return text[:at], text[at:]


def shuffled(text: str, draw: Callable[[str], float]) -> str:
    """Return the words in a drawn order; the letters, of a text that has fewer than four words."""
    parts = re.findall(r"\s*\S+", text)
    if len(parts) < 4:
        starts = [place for place, letter in enumerate(text) if not place or not _is_mark(letter)]
        parts = [text[start:stop] for start, stop in pairwise([*starts, len(text)])]
    order = sorted(range(len(parts)), key=lambda place: draw(f"place {place}"))
    return "".join(parts[place] for place in order)


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter).startswith("M")


def _weighted(weights: Mapping[str, float], point: float) -> str:
    point *= sum(weights.values())
    kinds = list(weights)
    for kind in kinds:
        point -= weights[kind]
        if point < 0:
            return kind
    return kinds[-1]
