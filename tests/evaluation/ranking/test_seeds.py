from __future__ import annotations

import numpy as np
import pytest

from marco.evaluation.ranking.seeds import spreads


def test_settings_are_pooled_by_their_freedom() -> None:
    # variances 2 (one degree of freedom) and 1 (two)
    found = spreads([[1.0, 3.0], [4.0, 5.0, 6.0], [9.0]])
    assert found is not None
    assert found[0] is found[1] is found[2]
    assert found[0] == (pytest.approx((2 * 1 + 1 * 2) / 3), 3)


def test_a_setting_that_scatters_keeps_its_own_variance() -> None:
    calm = [[0.0, 0.01 * i, 0.02] for i in range(1, 6)]
    found = spreads([*calm, [0.0, 5.0, 9.0]])
    assert found is not None
    assert found[0] is found[4]
    assert found[0].freedom == 10
    assert found[0].variance < 0.001
    assert found[5] == (pytest.approx(np.var([0, 5, 9], ddof=1)), 2)


def test_single_runs_say_nothing() -> None:
    assert spreads([[1.0], [2.0]]) is None


def test_runs_that_are_all_alike_have_no_variance() -> None:
    found = spreads([[1.0, 1.0], [2.0, 2.0], [3.0, 3.5]])
    assert found is not None
    assert [each.variance for each in found] == [0.0, 0.0, 0.125]


def test_what_varies_alike_is_seldom_kept_apart() -> None:
    generator = np.random.default_rng(0)
    apart = sum(
        len({id(each) for each in spreads(generator.normal(0, 1, (6, 3)).tolist()) or []}) > 1
        for _ in range(300)
    )
    assert apart <= 9  # one per cent, and then some
