"""The closed form against the forest that it is the limit of."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from marco.evaluation.contamination.isolation import decision_of_maximum


@pytest.mark.parametrize("shape", ["normal", "planted", "ties", "few", "equal"])
def test_it_is_the_limit_of_a_forest(shape: str) -> None:
    values = np.random.default_rng(3).standard_normal(24)
    if shape == "planted":
        values[7] = 15.0
    elif shape == "ties":
        values = np.round(values, 1)
    elif shape == "few":
        values = values[:6]
    elif shape == "equal":
        values[:] = -3.0
    trees = 300
    forest = IsolationForest(n_estimators=trees, max_samples=len(values), random_state=0)
    wanted = forest.fit(values[:, None]).decision_function(values[:, None])[values.argmax()]
    found = decision_of_maximum(values[None])[0]
    # depths have a deviation below 2, and the decision falls by at most 0.7 / c(m) a level
    assert found == pytest.approx(wanted, abs=4 * 2 * 0.7 / 3 / np.sqrt(trees))


def test_rows_are_apart_and_what_is_not_a_number_stays_so() -> None:
    draws = np.random.default_rng(0).standard_normal((3, 24))
    draws[1, 4] = np.nan
    found = decision_of_maximum(draws)
    assert np.isnan(found).tolist() == [False, True, False]
    assert found[2] == decision_of_maximum(draws[2:])[0]
    assert decision_of_maximum(draws[:1] * 7 - 100)[0] == pytest.approx(found[0])
