"""Whether a difference is more than luck: of paired items, of seeds, of two values alone.

All p-values are two-sided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Sign patterns drawn where there are too many to try all of them.
FLIPS = 9999
#: Up to so many items that differ, all sign patterns are tried.
ENUMERATED = 12


@dataclass(frozen=True, slots=True)
class Paired:
    """The same items of a language in the runs of two sides.

    Attributes:
        before: each item's value, float64 [runs, items].
        after: the same of the other side.
        weights: float64 [items], of mean 1: a run's value is the weighted mean of its items.
    """

    before: Array
    after: Array
    weights: Array

    @property
    def n(self) -> int:
        """The number of items."""
        return len(self.weights)

    @property
    def differences(self) -> Array:
        """Each item's mean after less its mean before, float64 [items]."""
        return np.asarray(self.after.mean(axis=0) - self.before.mean(axis=0))


class Spread(NamedTuple):
    """How a single run's value varies with its seed: a variance, and its degrees of freedom."""

    variance: float
    freedom: int


def mcnemar(better: int, worse: int) -> float:
    """Return the mid-p value of McNemar's test: of items right in one run alone.

    The exact test counts the outcome that was seen whole and is too careful; the mid-p value counts
    half of it, and holds its level in practice (Fagerland, Lydersen and Laake, BMC Medical Research
    Methodology 13:91, 2013).

    Args:
        better: items wrong before and right after.
        worse: items right before and wrong after.
    """
    from scipy.stats import binom

    n, fewer = better + worse, min(better, worse)
    if n == 0:
        return 1.0
    tail = 2 * binom.cdf(fewer, n, 0.5) - binom.pmf(fewer, n, 0.5)
    return float(min(tail, 1.0))


def sign_flip(weighted: Array, generator: np.random.Generator) -> float:
    """Return the p-value of a sum of differences, if each could as well have had the other sign.

    Exact for few items that differ (n of them cannot give less than 2 / 2^n); else of `FLIPS`
    random patterns and the one that was seen (Phipson and Smyth, SAGMB 9, 2010). What it takes to
    be so is that an item's difference is as likely up as down, not that it is normal.

    Args:
        weighted: the items' differences, times their weights if they have any, float64 [items].
        generator: draws the patterns.
    """
    moved = weighted[weighted != 0]
    if len(moved) == 0:
        return 1.0
    seen = abs(moved.sum()) * (1 - 1e-9)  # a sum in another order is the same sum
    if len(moved) <= ENUMERATED:
        patterns = np.arange(2 ** (len(moved) - 1))[:, None] >> np.arange(len(moved)) & 1
        return float((np.abs((1 - 2 * patterns) @ moved) >= seen).mean())
    sizes, counts = np.unique(np.abs(moved), return_counts=True)
    if len(sizes) * 8 <= len(moved):  # how many of equal size go up is a binomial variable
        sums = (2 * generator.binomial(counts, 0.5, (FLIPS, len(sizes))) - counts) @ sizes
        return float((1 + (np.abs(sums) >= seen).sum()) / (1 + FLIPS))
    beyond = 0
    for start in range(0, FLIPS, 1000):
        shape = (min(1000, FLIPS - start), len(moved))
        signs = generator.integers(0, 2, shape, dtype=np.int8).astype(float) * 2 - 1
        beyond += int((np.abs(signs @ moved) >= seen).sum())
    return (1 + beyond) / (1 + FLIPS)


def of_seeds(
    languages: Sequence[Paired], spreads: tuple[Spread, Spread] | None = None
) -> tuple[float, float]:
    """Return the standard error of a mean over languages' differences, and its freedom.

    Items and seeds are both drawn from more of their kind. The variance is that between seeds, of
    each side, plus that between items of the difference, less the part of what is left over that is
    counted in both: the analysis of variance with two crossed random factors (H. Clark, Journal of
    Verbal Learning 12, 1973). It is never less than that between seeds alone. Degrees of freedom
    are Satterthwaite's. A side of one seed is taken to vary as the other one does.

    Args:
        languages: one, or several with the same runs.
        spreads: what is known of each side from more runs than these; one and the same object if
            both sides are taken to vary alike.

    Raises:
        ValueError: one run on each side, and no spreads.
    """
    parts = _between_seeds(languages) if spreads is None else _known(languages[0], spreads)
    if freedom := sum(each.n - 1 for each in languages):
        over_items = sum(_over_items(each) for each in languages if each.n > 1)
        parts.append((max(over_items, 0.0) / len(languages) ** 2, freedom))
    variance = math.fsum(part for part, _ in parts)
    below = math.fsum(part**2 / free for part, free in parts)
    return math.sqrt(variance), variance**2 / below if below else math.inf


def _between_seeds(languages: Sequence[Paired]) -> list[tuple[float, int]]:
    """Parts of a difference's variance, with their degrees of freedom, from these runs alone."""
    means = [np.mean([side(each) for each in languages], axis=0) for side in (_before, _after)]
    several = [mean for mean in means if len(mean) > 1]
    if not several:
        raise ValueError("one run a side says nothing on seeds")
    if len(several) == 2:
        return [(float(mean.var(ddof=1)) / len(mean), len(mean) - 1) for mean in means]
    (known,) = several
    runs = sum(1 / len(mean) for mean in means)
    return [(float(known.var(ddof=1)) * runs, len(known) - 1)]


def _known(pair: Paired, spreads: tuple[Spread, Spread]) -> list[tuple[float, int]]:
    before, after = spreads
    runs = len(pair.before), len(pair.after)
    if before is after:
        return [(before.variance * (1 / runs[0] + 1 / runs[1]), before.freedom)]
    return [(each.variance / n, each.freedom) for each, n in zip(spreads, runs, strict=True)]


def _before(pair: Paired) -> Array:
    return np.asarray((pair.before * pair.weights).mean(axis=1))


def _after(pair: Paired) -> Array:
    return np.asarray((pair.after * pair.weights).mean(axis=1))


def _over_items(pair: Paired) -> float:
    """Variance of a language's difference between items, less what the runs' own noise makes."""
    differences, w = pair.differences, pair.weights
    total = (differences * w).mean()
    spread = float((((differences - total) * w) ** 2).sum()) / (pair.n - 1)
    sides = (pair.before, pair.after)
    left = [_left_over(side, w) for side in sides if len(side) > 1]
    noise = sum(left) / len(left) * sum(1 / len(side) for side in sides) if left else 0.0
    return float((spread - noise) / pair.n)


def _left_over(side: Array, w: Array) -> float:
    """Mean square of what neither the run nor the item explains."""
    centred = (side - side.mean(axis=0)) * w
    centred = centred - centred.mean(axis=1, keepdims=True)
    runs, n = side.shape
    return float((centred**2).sum() / ((runs - 1) * (n - 1)))


def t_test(difference: float, stderr: float, freedom: float) -> float:
    """Return the p-value of a difference with its standard error, which is not zero.

    With infinite freedom it is the normal distribution's.
    """
    from scipy.stats import norm, t

    ratio = abs(difference) / stderr
    tail = norm.sf(ratio) if math.isinf(freedom) else t.sf(ratio, freedom)
    return float(2 * tail)


def t_interval(difference: float, stderr: float, freedom: float) -> tuple[float, float]:
    """Return the 95 % interval of a difference with its standard error."""
    from scipy.stats import norm, t

    half = float(norm.ppf(0.975) if math.isinf(freedom) else t.ppf(0.975, freedom)) * stderr
    return difference - half, difference + half
