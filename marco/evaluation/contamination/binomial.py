"""The exact tail of a count of successes, in closed form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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


def _masses(trials: int, chance: float) -> NDArray[np.float64]:
    """The binomial probabilities of 0 … `trials` successes, [trials + 1]."""
    k = np.arange(1, trials + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((trials - k + 1) / k))])
    places = np.arange(trials + 1)
    logs = ways + places * np.log(chance) + (trials - places) * np.log1p(-chance)
    masses: NDArray[np.float64] = np.exp(logs)
    return masses
