"""The same items of several runs beside each other, or in what their items differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marco.evaluation.compare.run import Group, Run
from marco.evaluation.compare.significance import Paired
from marco.evaluation.items import Item
from marco.evaluation.results.samples import RATIOS

#: Of one article, which has bits per byte and nats.
_NATS = "bits_per_byte:loglikelihood"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Two runs that were not measured on the same items, which are therefore not paired.

    Attributes:
        task: the task family.
        language: canonical code.
        runs: the names of the two.
        counts: how many items each has.
        shared: how many they both have; None where only the counts are known.
        example: a document that one of them lacks: its task and its id.
    """

    task: str
    language: str
    runs: tuple[str, str]
    counts: tuple[int, int]
    shared: int | None
    example: str | None

    def __str__(self) -> str:
        """Say it in one line."""
        shared = "" if self.shared is None else f", {self.shared} in both"
        example = "" if self.example is None else f"; one has {self.example}, the other doesn't"
        (one, other), (n, m) = self.runs, self.counts
        return f"{self.task} · {self.language}: {n} items in {one}, {m} in {other}{shared}{example}"


def mismatch(runs: Sequence[Run], task: str, language: str) -> Mismatch | None:
    """Return in what the items of the first run and of another differ; None where all are alike.

    Items that some run did not keep are taken to be the same if all have as many.
    """
    first = runs[0]
    mine = first.keyed.get((task, language), {})
    for run in runs[1:]:
        theirs = run.keyed.get((task, language), {})
        names = (first.name, run.name)
        if mine and theirs and mine.keys() != theirs.keys():
            alone = min(mine.keys() ^ theirs.keys())
            shared = len(mine.keys() & theirs.keys())
            example = f"{alone[0]} {alone[1]}"
            return Mismatch(task, language, names, (len(mine), len(theirs)), shared, example)
        if not (mine and theirs):
            counts = _count(first, task, language), _count(run, task, language)
            if counts[0] != counts[1]:
                return Mismatch(task, language, names, counts, None, None)
    return None


def paired(before: Group, after: Group, task: str, metric: str, language: str) -> Paired | None:
    """Return the items of all runs that have the metric; None where they do not make its value.

    They don't of a corpus score (BLEU), or where a run kept no items. An item that lacks the metric
    in a run (a text too short to say its language) is left out of all, which may leave none. Items
    must be the same ones (`mismatch`).
    """
    runs = [*before.runs, *after.runs]
    kept = [run.keyed.get((task, language), {}) for run in runs]
    if not all(kept):
        return None
    numbers = [
        {key: part for key, item in items.items() if (part := _part(item, metric)) is not None}
        for items in kept
    ]
    for run, parts in zip(runs, numbers, strict=True):
        above = math.fsum(part for part, _ in parts.values())
        below = math.fsum(part for _, part in parts.values())
        value = run.measured[task, metric, language].value or 0.0
        if not below or not math.isclose(above / below, value, rel_tol=1e-6, abs_tol=1e-9):
            return None
    keys = [key for key in kept[0] if all(key in found for found in numbers)]
    if not keys:
        nothing = np.zeros((0,))
        return Paired(nothing[None], nothing[None], nothing)
    table = np.array([[found[key] for key in keys] for found in numbers])
    numerators, denominators = table[..., 0], table[..., 1]
    if not (denominators == denominators[0]).all():
        return None  # a length that the model has a part in: no common weights
    values, weights = numerators / denominators, denominators[0] / denominators[0].mean()
    count = len(before.runs)
    return Paired(values[:count], values[count:], weights)


def _count(run: Run, task: str, language: str) -> int:
    """How many items its rows are of: the most, since not every item has every metric."""
    return max(row.n for (t, _, code), row in run.measured.items() if (t, code) == (task, language))


def _part(item: Item, metric: str) -> tuple[float, float] | None:
    """An item's part of the metric's numerator, and of its denominator."""
    if metric in item.metrics:
        return item.metrics[metric], 1.0
    if metric == "nats_per_article" and _NATS in item.metrics:
        return -item.metrics[_NATS], 1.0
    above, below, factor = RATIOS.get(metric, ("", "", 1.0))
    names = f"{metric}:{above}", f"{metric}:{below}"
    if not all(name in item.metrics for name in names) or not item.metrics[names[1]]:
        return None
    return factor * item.metrics[names[0]], item.metrics[names[1]]
