"""The same items of several runs beside each other, or in what their items differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marco.evaluation.compare.run import Group, Run
from marco.evaluation.compare.significance import Paired
from marco.evaluation.items import Item
from marco.evaluation.results.samples import RATIOS, of_items


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
            counts = _counts(first, task, language), _counts(run, task, language)
            for metric in counts[0].keys() & counts[1].keys():
                n, m = counts[0][metric], counts[1][metric]
                if n != m:
                    return Mismatch(task, language, names, (n, m), None, None)
    return None


def paired(before: Group, after: Group, task: str, metric: str, language: str) -> Paired | None:
    """Return the items of all runs that have the metric; None where they do not make its value.

    They don't of a corpus score (BLEU), or where a run kept no items. An item that lacks the metric
    in a run (a text too short to say its language) is left out of all. Items must be the same ones
    (`mismatch`).
    """
    runs = [*before.runs, *after.runs]
    kept = [run.keyed.get((task, language), {}) for run in runs]
    if not all(kept):
        return None
    for run, items in zip(runs, kept, strict=True):
        sample = of_items(items.values(), metric).get(language)
        value = run.measured[task, metric, language].value
        if sample is None or not math.isclose(
            sample.value, value or 0.0, rel_tol=1e-6, abs_tol=1e-9
        ):
            return None
    numbers = [
        {key: pair for key, item in items.items() if (pair := _pair(item, metric)) is not None}
        for items in kept
    ]
    keys = [key for key in kept[0] if all(key in found for found in numbers)]
    if not keys:
        return None
    table = np.array([[found[key] for key in keys] for found in numbers])
    above, below = table[..., 0], table[..., 1]
    if not (below == below[0]).all():
        return None  # a length that the model has a part in: no common weights
    values, weights = above / below, below[0] / below[0].mean()
    count = len(before.runs)
    return Paired(values[:count], values[count:], weights)


def _counts(run: Run, task: str, language: str) -> dict[str, int]:
    return {
        metric: row.n
        for (t, metric, code), row in run.measured.items()
        if (t, code) == (task, language)
    }


def _pair(item: Item, metric: str) -> tuple[float, float] | None:
    """An item's part of the metric's numerator, and of its denominator."""
    if metric in item.metrics:
        return item.metrics[metric], 1.0
    above, below, factor = RATIOS.get(metric, ("", "", 1.0))
    names = f"{metric}:{above}", f"{metric}:{below}"
    if not all(name in item.metrics for name in names) or not item.metrics[names[1]]:
        return None
    return factor * item.metrics[names[0]], item.metrics[names[1]]
