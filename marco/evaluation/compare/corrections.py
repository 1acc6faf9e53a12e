"""p-values of many languages, adjusted so that one may look at all of them.

An adjusted value is compared with the level itself. A value that is not there (NaN) stays so and
does not count as a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def holm(p: Array) -> Array:
    """Return Holm's adjusted p-values: the chance of *any* false finding is held, whatever depends.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    return _adjusted(p, lambda rising, n: np.maximum.accumulate(rising * np.arange(n, 0, -1)))


def benjamini_hochberg(p: Array) -> Array:
    """Return Benjamini and Hochberg's: the expected share of false findings among them is held.

    Source: Y. Benjamini, Y. Hochberg, Journal of the Royal Statistical Society B 57 (1995).
    """

    def of(rising: Array, n: int) -> Array:
        scaled = rising * n / np.arange(1, n + 1)
        return np.asarray(np.minimum.accumulate(scaled[::-1])[::-1])

    return _adjusted(p, of)


CORRECTIONS: Mapping[str, Callable[[Array], Array]] = {"holm": holm, "bh": benjamini_hochberg}


def _adjusted(p: Array, of: Callable[[Array, int], Array]) -> Array:
    """Apply ``of`` to the p-values that there are, in rising order."""
    p = np.asarray(p, float)
    found = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    found[order] = np.minimum(of(p[order], len(order)), 1.0)
    return found
