"""The embedded pairs: articles of the Universal Declaration of Human Rights, in any direction.

Articles 26 to 30 are held out by `data=udhr`, so the default stops before them: text of one
language would otherwise be trained on as the translation of another's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from marco.data.pair_counts import PARAGRAPHS, PairCounts
from marco.data.pairs import ParallelText
from marco.data.udhr import ASSET, Udhr, article_numbers, read_declarations
from marco.errors import ConfigError


@dataclass(frozen=True)
class UdhrPairs(ParallelText):
    """Settings of the declarations as parallel text; a row is an article in all languages.

    Attributes:
        languages: what `marco.languages.get` understands; two, at least.
        articles: numbers and ranges, both ends included; 0 is the preamble.
        align: article, or paragraph: a row for each paragraph, among the declarations that have
            equally many in that article (pairs of others are counted as dropped).
        pairs_per_row: as in `ParallelText`, but all, unless it is set: there are few rows.
    """

    languages: list[str]
    articles: str = "0-25"
    align: Literal["article", "paragraph"] = "article"
    pairs_per_row: int | None = field(default=None, kw_only=True)

    def check(self, where: str) -> None:
        """See `ParallelText`.

        Raises:
            ConfigError: a language without a declaration, fewer than two, no such article.
        """
        article_numbers(f"{where}.articles", self.articles)
        super().check(where)

    def codes(self, where: str) -> list[str]:
        """See `ParallelText`."""
        try:
            codes = Udhr(self.languages).language_codes()
        except ConfigError as error:
            raise ConfigError(str(error).replace("data.languages", f"{where}.languages")) from None
        if len(codes) < 2:
            raise ConfigError(f"{where}.languages={self.languages}: a pair needs two, at least.")
        return codes

    def rows(self, counts: PairCounts) -> Iterator[dict[str, str]]:
        """See `ParallelText`; an article that a declaration lacks is an empty side."""
        declarations = read_declarations(self.codes("udhr"))
        for number in article_numbers("articles", self.articles):
            row = {code: articles.get(number, "") for code, articles in declarations.items()}
            if self.align == "article":
                yield row
            else:
                yield from _paragraphs(row, counts)

    def text_key(self) -> str:
        """See `ParallelText`."""
        asset = hashlib.sha256(ASSET.read_bytes()).hexdigest()
        numbers = article_numbers("articles", self.articles)
        decides = (asset, self.codes("udhr"), numbers, self.align)
        return hashlib.sha256(repr(decides).encode()).hexdigest()


def _paragraphs(row: dict[str, str], counts: PairCounts) -> Iterator[dict[str, str]]:
    """Split an article's row; an absent article is a group of its own, with no paragraph."""
    groups: dict[int, dict[str, list[str]]] = {}
    for code, text in row.items():
        lines = text.split("\n") if text else []
        groups.setdefault(len(lines), {})[code] = lines
    together = sum(math.comb(len(group), 2) for group in groups.values())
    if apart := math.comb(len(row), 2) - together:
        counts.pairs += apart
        counts.dropped[PARAGRAPHS] += apart
    for length, group in groups.items():
        if len(group) > 1:
            for place in range(length):
                yield {code: lines[place] for code, lines in group.items()}
