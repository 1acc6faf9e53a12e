"""Which share of the evaluation's text is in an n-gram index of the training text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marco.evaluation.contamination.ngram_index import NgramIndex
from marco.evaluation.contamination.ngrams import hash_ngrams
from marco.evaluation.intervals import of_ratio, wilson
from marco.evaluation.rows import Row
from marco.languages import get

METRICS = ("overlap", "overlap_ngrams")
TOO_SHORT = "every item is shorter than an n-gram"


def look_up(texts: Sequence[str], index: NgramIndex) -> list[tuple[int, int]]:
    """Return (n-grams in the index, n-grams) of every text, in their order."""
    grams = hash_ngrams(texts, index.lengths)
    hits = index.contains(grams.hashes)
    of_text = np.repeat(np.arange(len(texts)), grams.counts)
    found = np.bincount(of_text[hits], minlength=len(texts))
    return list(zip(found.tolist(), grams.counts.tolist(), strict=True))


def overlap(task: str, items: Sequence[tuple[str, str]], index: NgramIndex) -> list[Row]:
    """Return two rows a language: `overlap`, `overlap_ngrams`.

    `overlap` is the share of the items with at least one n-gram in the index, `overlap_ngrams` the
    share of their n-grams; `n` counts items. Items shorter than an n-gram are in neither.

    Args:
        task: the rows' task.
        items: (canonical code, text): what a model could have learnt by heart, such as a question
            with its options and its answer.
        index: of the text the model was trained on.
    """
    counts = look_up([text for _, text in items], index)
    rows = []
    for language in dict.fromkeys(language for language, _ in items):
        group = get(language).group
        own = [each for (of, _), each in zip(items, counts, strict=True) if of == language]
        long = [(float(found), float(ngrams)) for found, ngrams in own if ngrams]
        if not long:
            rows += [
                Row(task, language, group, name, None, 0, reason=TOO_SHORT) for name in METRICS
            ]
            continue
        hit = sum(found > 0 for found, _ in long)
        low, high = wilson(hit, len(long))
        rows.append(Row(task, language, group, METRICS[0], hit / len(long), len(long), low, high))
        found, ngrams = zip(*long, strict=True)
        bounds = of_ratio(found, ngrams) or (None, None)
        rows.append(
            Row(task, language, group, METRICS[1], sum(found) / sum(ngrams), len(long), *bounds)
        )
    return rows
