"""Which share of the evaluation's text is in an n-gram index of the training text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marco.evaluation.contamination.ngram_index import NgramIndex
from marco.evaluation.intervals import of_ratio, wilson
from marco.evaluation.rows import Row
from marco.languages import get

METRICS = ("ngram_overlap", "ngram_found")
TOO_SHORT = "every item is shorter than an n-gram"


@dataclass(frozen=True, slots=True)
class Found:
    """How much of one text is in the index.

    Attributes:
        ngrams: of the text; 0 where it is too short.
        found: of them.
    """

    ngrams: int
    found: int


def look_up(texts: Sequence[str], index: NgramIndex) -> list[Found]:
    """Return what is found of every text, in their order."""
    grams = index.ngrams(texts)
    hits = index.contains(grams.hashes)
    of_text = np.repeat(np.arange(len(texts)), grams.counts)
    found = np.bincount(of_text[hits], minlength=len(texts))
    return [
        Found(ngrams, count)
        for ngrams, count in zip(grams.counts.tolist(), found.tolist(), strict=True)
    ]


def overlap(task: str, items: Sequence[tuple[str, str]], index: NgramIndex) -> list[Row]:
    """Return two rows a language: `ngram_overlap`, `ngram_found`.

    `ngram_overlap` is the share of the items with at least one n-gram in the index, `ngram_found`
    the share of their n-grams; `n` counts items. Items shorter than an n-gram are in neither.

    Args:
        task: the rows' task.
        items: (canonical code, text): what a model could have learnt by heart, such as a question
            with its options and its answer.
        index: of the text the model was trained on.
    """
    texts = look_up([text for _, text in items], index)
    rows = []
    for language in dict.fromkeys(language for language, _ in items):
        group = get(language).group
        own = [text for (of, _), text in zip(items, texts, strict=True) if of == language]
        long = [text for text in own if text.ngrams]
        if not long:
            rows += [Row(task, language, group, name, None, 0, reason=TOO_SHORT) for name in METRICS]
            continue
        hit = sum(text.found > 0 for text in long)
        low, high = wilson(hit, len(long))
        rows.append(Row(task, language, group, METRICS[0], hit / len(long), len(long), low, high))
        found, ngrams = [float(text.found) for text in long], [float(text.ngrams) for text in long]
        bounds = of_ratio(found, ngrams) or (None, None)
        share = sum(found) / sum(ngrams)
        rows.append(Row(task, language, group, METRICS[1], share, len(long), *bounds))
    return rows
