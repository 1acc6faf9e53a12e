"""What is known of a language's value, in a form that can be drawn again: the bootstrap's input.

Where there are items, they are drawn with replacement (the nonparametric bootstrap; Efron, Annals
of Statistics 7, 1979). Where there is only a value and its standard error, a normal variable is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marco.evaluation.intervals import Z95
from marco.evaluation.items import Item
from marco.evaluation.rows import Row

Array = NDArray[np.float64]

#: Metrics that are a ratio of sums: metric → numerator, denominator, as items name them, and a
#: factor. lm-eval's bits per byte are made of nats.
RATIOS: Mapping[str, tuple[str, str, float]] = {
    "bits_per_byte": ("loglikelihood", "length", -1 / math.log(2)),
    "length_ratio": ("characters", "reference", 1.0),
}

# Resampled indices held at once: 2 million of 8 bytes.
_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """The items of a language: its value is Σ numerators / Σ denominators, both float64 [items].

    A mean has ``denominators`` None: each item counts one.
    """

    numerators: Array
    denominators: Array | None = None

    @property
    def n(self) -> int:
        """The number of items."""
        return len(self.numerators)

    @property
    def value(self) -> float:
        """The language's value."""
        below = self.n if self.denominators is None else math.fsum(self.denominators)
        return math.fsum(self.numerators) / below

    def draws(self, generator: np.random.Generator, replicates: int) -> Array:
        """Return the value of ``replicates`` resamples of the items, float64 [replicates].

        Items of equal value are drawn together, by how often: of an accuracy, a binomial variable
        in place of a thousand indices, and the same distribution. NaN of one item alone: it says
        nothing about its error.
        """
        if self.n < 2:
            return np.full(replicates, np.nan)
        below = np.ones(self.n) if self.denominators is None else self.denominators
        pairs, counts = np.unique(
            np.stack([self.numerators, below], axis=1), axis=0, return_counts=True
        )
        if len(pairs) * 8 <= self.n:
            times = generator.multinomial(self.n, counts / self.n, size=replicates)
            sums = times @ pairs
            return np.asarray(sums[:, 0] / sums[:, 1])
        found = np.empty(replicates)
        step = max(1, _CHUNK // self.n)
        for start in range(0, replicates, step):
            size = min(step, replicates - start)
            drawn = generator.integers(self.n, size=(size, self.n))
            found[start : start + size] = self.numerators[drawn].sum(1) / below[drawn].sum(1)
        return found


@dataclass(frozen=True, slots=True)
class Estimate:
    """A language's value over ``n`` items that aren't at hand, with its standard error if known."""

    value: float
    n: int
    stderr: float | None = None

    def draws(self, generator: np.random.Generator, replicates: int) -> Array:
        """Return normal variables, float64 [replicates]; NaN where no standard error is known."""
        if self.stderr is None:
            return np.full(replicates, np.nan)
        return generator.normal(self.value, self.stderr, replicates)


def of_items(items: Iterable[Item], metric: str) -> dict[str, Sample]:
    """Return {language: sample} of the items that have the metric, in their order.

    The items must be of one task family: all that have the metric count for their language.
    """
    above, below, factor = RATIOS.get(metric, ("", "", 1.0))
    names = (f"{metric}:{above}", f"{metric}:{below}")
    means: dict[str, list[float]] = {}
    ratios: dict[str, list[tuple[float, float]]] = {}
    for item in items:
        if metric in item.metrics:
            means.setdefault(item.language, []).append(item.metrics[metric])
        elif all(name in item.metrics for name in names):
            pair = (factor * item.metrics[names[0]], item.metrics[names[1]])
            ratios.setdefault(item.language, []).append(pair)
    found = {language: Sample(np.array(values, float)) for language, values in means.items()}
    for language, values in ratios.items():
        numerators, denominators = np.array(values, float).T
        found.setdefault(language, Sample(numerators, denominators))
    return found


def of_rows(
    rows: Iterable[Row], items: Iterable[Item], task: str, metric: str
) -> dict[str, Sample | Estimate]:
    """Return what is known of each measured language: its items where they give the row's value.

    They don't where a metric isn't a mean over items (BLEU), where items are missing, or where a
    task weighs them: then it is the row's value, with its standard error, or a quarter (1 / 3.92)
    of its 95 % interval. ``items`` are those of this task alone, or of its parts.
    """
    samples = of_items(items, metric)
    found: dict[str, Sample | Estimate] = {}
    for row in rows:
        if (row.task, row.metric, row.subtask) != (task, metric, None) or row.value is None:
            continue
        if not math.isfinite(row.value):
            continue
        sample = samples.get(row.language)
        if sample is not None and math.isclose(sample.value, row.value, rel_tol=1e-6, abs_tol=1e-9):
            found[row.language] = sample
        else:
            stderr = row.stderr
            if stderr is None and row.low is not None and row.high is not None:
                stderr = (row.high - row.low) / (2 * Z95)
            found[row.language] = Estimate(row.value, row.n, stderr)
    return found
