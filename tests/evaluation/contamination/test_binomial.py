from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from marco.evaluation.contamination.binomial import at_least, clopper_pearson


@pytest.mark.parametrize("trials", [1, 7, 60, 2000])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_scipy_agrees(trials: int, share: float) -> None:
    count = round(share * trials)
    wanted = stats.binom.sf(count - 1, trials, 1 / 24)
    assert at_least(count, [1 / 24] * trials) == pytest.approx(wanted, rel=1e-9)
    interval = stats.binomtest(count, trials).proportion_ci(method="exact")
    assert clopper_pearson(count, trials) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_several_chances_are_added_up_exactly() -> None:
    chances = [1 / 2, 1 / 6, 1 / 24, 1 / 6]
    table = np.zeros(5)
    for outcome in range(16):
        hits = [bool(outcome >> place & 1) for place in range(4)]
        table[sum(hits)] += math.prod(
            p if hit else 1 - p for p, hit in zip(chances, hits, strict=True)
        )
    for count in range(5):
        assert at_least(count, chances) == pytest.approx(table[count:].sum(), rel=1e-12)
    assert at_least(0, []) == 1.0


def test_intervals_cover() -> None:
    """At least 95 % of them, by simulation."""
    draws = np.random.default_rng(0).binomial(40, 1 / 24, 2000)
    bounds = {count: clopper_pearson(count, 40) for count in set(draws.tolist())}
    covered = np.mean([bounds[count][0] <= 1 / 24 <= bounds[count][1] for count in draws.tolist()])
    assert covered >= 0.95


def test_no_trials() -> None:
    with pytest.raises(ValueError, match="0 trials"):
        clopper_pearson(0, 0)
