"""95 % intervals in closed form: of an accuracy, of a mean, of a ratio of sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: The 97.5 % point of the normal distribution.
Z95 = 1.959963984540054


def wilson(correct: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of ``correct`` successes in ``n`` trials.

    It stays inside [0, 1] and is honest at 0 or n successes, where the textbook interval has no
    width. Effective numbers of either need not be whole. Source: E. B. Wilson, JASA 22 (1927).

    Raises:
        ValueError: without trials, or with more successes than trials.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"no interval for {correct} successes in {n} trials")
    share = correct / n
    scale = 1 + z * z / n
    center = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at the ends the closed form is exactly 0 or 1, and rounding is not
    low = 0.0 if correct == 0 else center - half
    high = 1.0 if correct == n else center + half
    return low, high


def of_mean(values: Sequence[float], z: float = Z95) -> tuple[float, float] | None:
    """Return mean ± z standard errors, or None of fewer than two values."""
    return of_ratio(values, [1.0] * len(values), z)


def of_ratio(
    numerators: Sequence[float], denominators: Sequence[float], z: float = Z95
) -> tuple[float, float] | None:
    """Return the interval of sum(numerators) / sum(denominators) over units drawn together.

    The standard error is the linearised one: with R the ratio and n units,
    sqrt(n / (n - 1) · Σ (x_i - R·y_i)²) / Σ y_i. Denominators of one give the mean's.
    """
    n = len(numerators)
    if n < 2:
        return None
    total = math.fsum(denominators)
    ratio = math.fsum(numerators) / total
    squares = math.fsum((x - ratio * y) ** 2 for x, y in zip(numerators, denominators, strict=True))
    half = z * math.sqrt(n / (n - 1) * squares) / total
    return ratio - half, ratio + half
