from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from marco.evaluation.contamination.binomial import at_least


@pytest.mark.parametrize("trials", [1, 7, 60, 2000])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_scipy_agrees(trials: int, share: float) -> None:
    count = round(share * trials)
    wanted = stats.binom.sf(count - 1, trials, 1 / 24)
    assert at_least(count, [1 / 24] * trials) == pytest.approx(wanted, rel=1e-9)


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
