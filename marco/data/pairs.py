"""Parallel text as a source: pairs, each rendered through a template in a drawn direction.

What every kind of parallel text shares is here; where rows come from is `pair_files` (a user's
files) and `udhr_pairs` (the embedded declarations). Which direction, which template and which
kind of language name a pair gets is decided by a hash of the seed and the pair's own text.
"""

from __future__ import annotations

import hashlib
import logging
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING

from marco.data.directions import Direction, Directions, draw
from marco.data.documents import Document
from marco.data.language_names import Names, language_name, native_drawn
from marco.data.pair_counts import REPEATED, PairCounts
from marco.data.pair_filter import Filter, candidates
from marco.data.pair_hash import texts_id, uniform
from marco.data.settings import SourceSettings
from marco.data.stores import SEVERAL
from marco.data.templates import Template, chosen_templates
from marco.data.token_cache import tokenised
from marco.errors import ConfigError, DataError
from marco.languages import get

if TYPE_CHECKING:
    from marco.data.stores import Source
    from marco.tokenizers import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ParallelText(SourceSettings):
    """Settings of every source of parallel text.

    Attributes:
        language: what its tokens are counted as: "mul", or a language of the registry.
        directions: any_to_any, english_centric, or weights ({eng-swh: 2, swh-eng: 1}).
        pairs_per_row: directions drawn, without replacement, from each row; null: all.
        names: how languages are called: english, native, or both (one of them, drawn).
        templates: names of templates (`marco/assets/pair_templates.yaml`); null: all eleven.
        drop_copies: drop pairs whose two sides are the same text.
        drop_duplicates: render a pair once in a direction, however often it comes; needs about 100
            bytes of memory for each document.
        max_length_ratio: drop pairs one side of which has more than so many times the other's
            characters; null: no such filter (what it is worth can be measured by switching it).
        seed: of all draws.
    """

    language: str | None = SEVERAL
    directions: str | dict[str, float] = "any_to_any"
    pairs_per_row: int | None = 1
    names: Names = "english"
    templates: list[str] | None = None
    drop_copies: bool = False
    drop_duplicates: bool = True
    max_length_ratio: float | None = None
    seed: int = 0

    @abstractmethod
    def rows(self, counts: PairCounts) -> Iterator[Mapping[str, str]]:
        """Yield rows: canonical code → text, "" where a side is missing.

        What a reader drops itself it adds to `counts`, which also has its pairs.
        """

    @abstractmethod
    def codes(self, where: str) -> list[str] | None:
        """Return the languages of the pairs; None where only reading all of it would tell."""

    @abstractmethod
    def text_key(self) -> str:
        """Return a hash of the text that the rows come from, and of how it is read."""

    def check(self, where: str) -> None:
        """Find what is wrong before anything starts.

        Raises:
            ConfigError, DataError: `where` (data.sources.parallel) and the key that is wrong.
        """
        try:
            self._language(where.rpartition(".")[2])
        except ConfigError as error:
            raise ConfigError(f"{where}.language: {error}") from None
        if self.pairs_per_row is not None and self.pairs_per_row < 1:
            raise ConfigError(f"{where}.pairs_per_row={self.pairs_per_row}: at least 1, or null.")
        ratio = self.max_length_ratio
        if ratio is not None and not (math.isfinite(ratio) and ratio >= 1):
            raise ConfigError(f"{where}.max_length_ratio={ratio}: at least 1, or null.")
        chosen_templates(self.templates, f"{where}.templates")
        directions = Directions.parse(self.directions, f"{where}.directions")
        if (codes := self.codes(where)) is not None:
            directions.check(codes, f"{where}.directions")

    def documents(self, name: str, counts: PairCounts) -> Iterator[Document]:
        """Yield the rendered pairs of the source `name`, row by row; `counts` is added to.

        A document's id is the hash of its pair and its direction: "3f2a…/eng-swh".

        Raises:
            DataError: text that cannot be used, with its file and line; nothing came out at all.
        """
        directions = Directions.parse(self.directions, f"{name}.directions")
        templates = chosen_templates(self.templates, f"{name}.templates")
        language = self._language(name)
        refused = Filter(self.drop_copies, self.max_length_ratio)
        seen: set[bytes] = set()
        for raw in self.rows(counts):
            texts, weighted = candidates(raw, directions, refused, counts)
            row_draw = partial(self._draw, texts_id(texts))
            for source, target in draw(weighted, self.pairs_per_row, row_draw):
                pair = texts_id({code: texts[code] for code in (source, target)})
                key = pair + (b">" if source < target else b"<")
                if key in seen:
                    counts.dropped[REPEATED] += 1
                    continue
                if self.drop_duplicates:
                    seen.add(key)
                counts.directions[source, target] += 1
                text = self._render(pair, (source, target), texts, templates, counts)
                yield Document(text, language, name, f"{pair.hex()}/{source}-{target}")
        if not counts.documents:
            raise DataError(f"{name}: no parallel text. " + "; ".join(counts.notes(name)))

    def preview(self, name: str, count: int) -> list[str]:
        """Return the first `count` renderings, as training will see them."""
        return [document.text for document in islice(self.documents(name, PairCounts()), count)]

    def content_key(self) -> str:
        """Return a hash of all that decides the documents' text and order (reads the files)."""
        directions = Directions.parse(self.directions, "directions").rule
        registry = files("marco").joinpath("assets/languages.tsv").read_bytes()
        decides = (
            self.text_key(),
            directions if isinstance(directions, str) else sorted(directions.items()),
            (self.pairs_per_row, self.names, self.seed),
            (self.drop_copies, self.drop_duplicates, self.max_length_ratio),
            [template.pieces for template in chosen_templates(self.templates, "templates")],
            hashlib.sha256(registry).hexdigest(),
        )
        return hashlib.sha256(repr(decides).encode()).hexdigest()

    def open(self, name: str, language: str, tokenizer: Tokenizer) -> Source:
        """Return the source, tokenised through the cache; what was dropped is logged then."""
        return tokenised(name, language, self._logged(name), self.content_key(), tokenizer)

    def _logged(self, name: str) -> Iterator[Document]:
        counts = PairCounts()
        yield from self.documents(name, counts)
        for note in counts.notes(name):
            log.info("Data: %s", note)

    def _language(self, name: str) -> str:
        return SEVERAL if self.language == SEVERAL else get(self.language or name).code

    def _draw(self, id: bytes, number: int) -> float:
        return uniform(self.seed, id, f"direction {number}")

    def _render(
        self,
        pair: bytes,
        direction: Direction,
        texts: Mapping[str, str],
        templates: tuple[Template, ...],
        counts: PairCounts,
    ) -> str:
        source, target = direction
        way = f"{source}-{target}"
        template = templates[int(uniform(self.seed, pair, f"template {way}") * len(templates))]
        native = native_drawn(self.names, uniform(self.seed, pair, f"names {way}"))
        if native:
            counts.english_names.update(c for c in direction if get(c).native_name is None)
        names = [language_name(code, native) for code in direction]
        return template.render(names[0], names[1], texts[source], texts[target])
