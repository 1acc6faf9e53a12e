"""Exact tails and intervals of counts of successes, in closed form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def at_least(count: int, chances: Sequence[float]) -> float:
    """Return the probability of `count` successes or more in independent trials.

    Trials of equal chance are binomial; those of several chances are added up exactly (the
    Poisson binomial distribution).

    Args:
        count: of successes.
        chances: of each trial, strictly between 0 and 1; one for each trial.
    """
    masses = np.ones(1)
    for chance, trials in sorted(Counter(chances).items()):
        masses = np.convolve(masses, _masses(trials, chance))
    return min(1.0, float(masses[count:].sum()))


def clopper_pearson(count: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share, which covers it at least `level` of the time.

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934).

    Raises:
        ValueError: without trials, or with more successes than trials.
    """
    if trials < 1 or not 0 <= count <= trials:
        raise ValueError(f"no interval for {count} successes in {trials} trials")
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else _solve(count, trials, tail)
    # P(X <= count | p) is P(trials - X >= trials - count | 1 - p)
    high = 1.0 if count == trials else 1 - _solve(trials - count, trials, tail)
    return low, high


def _solve(count: int, trials: int, tail: float) -> float:
    """The chance at which `count` successes or more have probability `tail`."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _masses(trials, middle)[count:].sum() < tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _masses(trials: int, chance: float) -> Floats:
    """The binomial probabilities of 0 … `trials` successes, [trials + 1]."""
    k = np.arange(1, trials + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((trials - k + 1) / k))])
    places = np.arange(trials + 1)
    logs = ways + places * np.log(chance) + (trials - places) * np.log1p(-chance)
    masses: Floats = np.exp(logs)
    return masses
