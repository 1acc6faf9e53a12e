"""How far the largest of some numbers stands out: an isolation forest of infinitely many trees.

Source: F. T. Liu, K. M. Ting, Z.-H. Zhou, ICDM 2008. In one dimension the mean depth at which a
tree isolates a number needs no trees: a cut is uniform between the least and the largest number of
a node, so it falls into each gap with a probability proportional to the gap. What comes out is
the limit of scikit-learn's `IsolationForest(max_samples=m).decision_function` on the m numbers, the
same every time.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def decision_of_maximum(values: Floats) -> Floats:
    """Return the decision value of the largest number of every row, [rows].

    Below 0 it is easier to isolate than most; the bound is about -0.38 for 24 numbers. Not a number
    where one of the row is not finite.

    Args:
        values: [rows, m], m >= 2.
    """
    rows, m = values.shape
    found = np.full(rows, np.nan)
    finite = np.isfinite(values).all(axis=1)
    sorted_values = np.sort(values[finite], axis=1)
    gaps = np.diff(sorted_values, axis=1)
    to_maximum = sorted_values[:, -1:] - sorted_values[:, :-1]
    limit = math.ceil(math.log2(m))
    # A node that still holds the maximum is the suffix from some number on; depths[:, i] is the
    # mean depth below the node that starts at number i. A last node of k numbers counts c(k).
    leaves = np.array([_mean_path(m - start) for start in range(m)])
    depths = np.broadcast_to(leaves, sorted_values.shape)
    for _ in range(limit):
        weighted = gaps * depths[:, 1:]
        below = np.cumsum(weighted[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            split = 1 + below / to_maximum
        # numbers that are all equal are not split any further
        split = np.where(to_maximum > 0, split, leaves[:-1])
        depths = np.concatenate([split, np.zeros((len(split), 1))], axis=1)
    found[finite] = 0.5 - 2 ** (-depths[:, 0] / _mean_path(m))
    return found


def _mean_path(count: int) -> float:
    """The mean depth of an unsuccessful search in a binary tree of `count` numbers, c(n)."""
    if count < 2:
        return 0.0
    if count == 2:
        return 1.0
    return 2 * (math.log(count - 1) + np.euler_gamma) - 2 * (count - 1) / count
