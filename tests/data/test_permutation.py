"""A permutation without a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.data.permutation import Permutation


@given(size=st.integers(1, 3000), key=st.text(max_size=4))
def test_it_is_one(size: int, key: str) -> None:
    order = Permutation(size, key)
    assert sorted(order[index] for index in range(size)) == list(range(size))


def test_it_depends_on_the_key_and_on_nothing_else() -> None:
    first = [Permutation(500, "7/swh")[index] for index in range(500)]
    assert first == [Permutation(500, "7/swh")[index] for index in range(500)]
    assert first != [Permutation(500, "8/swh")[index] for index in range(500)]
    assert first[:8] == [33, 126, 318, 74, 213, 108, 104, 250]  # the same on every machine


def test_it_shuffles() -> None:
    """Places and values are uncorrelated, and neighbours do not stay neighbours."""
    size = 100_000
    order = np.array([Permutation(size, "shuffle")[index] for index in range(size)])
    assert abs(np.corrcoef(np.arange(size), order)[0, 1]) < 0.015  # 4.7 standard deviations
    assert np.mean(np.abs(np.diff(order)) == 1) < 1e-4
    places = np.bincount(order[: size // 10] * 10 // size, minlength=10)  # of the first tenth
    assert np.all(np.abs(places - size / 100) < 150)


def test_no_size_is_too_large() -> None:
    order = Permutation(10**15, "k")
    assert len({order[index] for index in range(1000)}) == 1000
    assert all(0 <= order[index] < 10**15 for index in range(1000))


@pytest.mark.parametrize("index", [-1, 5])
def test_outside(index: int) -> None:
    with pytest.raises(IndexError):
        Permutation(5, "k")[index]
