from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from marco.evaluation.compare.corrections import benjamini_hochberg, holm


def test_holm_of_holms_rule() -> None:
    # smallest × 4, next × 3, … and never below the one before
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_equals_the_step_down_procedure() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        p = generator.random(12) ** 4
        rejected = np.zeros(12, bool)
        for rank, index in enumerate(np.argsort(p)):
            if p[index] > 0.05 / (12 - rank):
                break
            rejected[index] = True
        assert ((holm(p) <= 0.05) == rejected).all()


def test_benjamini_hochberg_equals_scipys() -> None:
    generator = np.random.default_rng(1)
    for n in (1, 2, 29, 200):
        p = generator.random(n) ** 3
        assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p))


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_what_was_not_tested_does_not_count(correct) -> None:
    p = np.array([0.01, np.nan, 0.02])
    adjusted = correct(p)
    assert np.isnan(adjusted[1])
    assert adjusted[[0, 2]] == pytest.approx(correct(p[[0, 2]]))
    assert len(correct(np.array([]))) == 0
    assert np.isnan(correct(np.array([np.nan]))).all()
