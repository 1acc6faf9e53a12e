"""How well held-out text is predicted: bits per byte, and nats per parallel article.

Bits per byte compares tokenizers but not scripts: one character is one byte of English and three of
Thai. The nats of the same article in each language compare across scripts, because the content is
the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from marco.evaluation.intervals import Z95, of_mean, of_ratio
from marco.evaluation.items import Item, content_id
from marco.evaluation.rows import Row
from marco.evaluation.task import Scorer, missing

if TYPE_CHECKING:
    from marco.data.documents import Document

TASK = "likelihood"
METRICS = ("bits_per_byte", "nats_per_article")


@dataclass(frozen=True, slots=True)
class Scored:
    """A held-out document with its score: nats of all its tokens, length in UTF-8 bytes."""

    nats: float
    bytes: int
    parallel_id: str | None = None


class Likelihood:
    """The task: held-out documents, tokenised once. ``items`` are those of the last run."""

    name = TASK
    metric = METRICS[0]

    def __init__(
        self,
        held_out: Mapping[str, Sequence[Document]],
        groups: Mapping[str, str],
        encode_batch: Callable[[list[str]], list[list[int]]],
    ) -> None:
        self.languages = {language: groups[language] for language in held_out}
        self.items: list[Item] = []
        self._documents = [
            (language, document)
            for language, documents in held_out.items()
            for document in documents
        ]
        self._tokens = encode_batch([document.text for _, document in self._documents])

    def run(self, scorer: Scorer) -> list[Row]:
        """Score every document and sum up by language."""
        nats = scorer.documents(self._tokens)
        scored: dict[str, list[Scored]] = {language: [] for language in self.languages}
        self.items = []
        for (language, document), score in zip(self._documents, nats, strict=True):
            total = float(np.sum(score, dtype=np.float64))
            size = len(document.text.encode("utf-8"))
            scored[language].append(Scored(total, size, document.parallel_id))
            self.items.append(_item(language, document, total, size))
        return likelihood_rows(scored, self.languages)


def likelihood_rows(scored: Mapping[str, Sequence[Scored]], groups: Mapping[str, str]) -> list[Row]:
    """Turn scored documents into two rows a language.

    ``bits_per_byte`` is Σ nats / ln 2 / Σ bytes over a language's documents, with a linearised
    interval over documents. ``nats_per_article`` is the mean, with its standard error, over the
    parallel ids that *every* language with parallel text has; documents of one id count as one.
    """
    articles = {language: _articles(documents) for language, documents in scored.items()}
    parallel = [set(found) for found in articles.values() if found]
    shared = sorted(set.intersection(*parallel)) if parallel else []
    rows = []
    for language, documents in scored.items():
        group = groups[language]
        nats = [document.nats for document in documents]
        sizes = [float(document.bytes) for document in documents]
        if not sum(sizes):
            rows += missing(TASK, language, group, METRICS, "no held-out text")
            continue
        if not all(math.isfinite(value) for value in nats):
            rows += missing(TASK, language, group, METRICS, "the loss is not a finite number")
            continue
        bits = [value / math.log(2) for value in nats]
        value = math.fsum(bits) / math.fsum(sizes)
        spread = of_ratio(bits, sizes)
        rows.append(_row(language, group, METRICS[0], value, len(bits), spread))
        if not articles[language]:
            rows += missing(TASK, language, group, METRICS[1:], "no parallel articles")
        elif not shared:
            reason = "no article is held out in every language"
            rows += missing(TASK, language, group, METRICS[1:], reason)
        else:
            values = [articles[language][name] for name in shared]
            value = math.fsum(values) / len(values)
            spread = of_mean(values)
            rows.append(_row(language, group, METRICS[1], value, len(values), spread))
    return rows


def _row(
    language: str,
    group: str,
    metric: str,
    value: float,
    n: int,
    spread: tuple[float, float] | None,
) -> Row:
    if spread is None:
        return Row(TASK, language, group, metric, value, n)
    stderr = (spread[1] - spread[0]) / (2 * Z95)
    return Row(TASK, language, group, metric, value, n, *spread, stderr=stderr)


def _item(language: str, document: Document, nats: float, size: int) -> Item:
    metrics = {"bits_per_byte:loglikelihood": -nats, "bits_per_byte:length": float(size)}
    return Item(TASK, language, content_id(document.text), metrics, loglikelihoods=(-nats,))


def _articles(documents: Sequence[Scored]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for document in documents:
        if document.parallel_id is not None:
            totals[document.parallel_id] = totals.get(document.parallel_id, 0.0) + document.nats
    return totals
