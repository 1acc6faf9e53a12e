from __future__ import annotations

import math

import pytest

from marco.evaluation.intervals import of_mean, of_ratio, wilson


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        # Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(
    correct: int, n: int, low: float, high: float
) -> None:
    assert wilson(correct, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_wilson_solves_the_score_equation(n: int) -> None:
    z = 1.7
    for correct in {0, 1, n // 2, n}:
        low, high = wilson(correct, n, z)
        assert 0 <= low <= correct / n <= high <= 1
        for bound in (low, high):
            if 0 < bound < 1:  # |p̂ − p| = z·sqrt(p(1 − p)/n) holds at both ends
                distance = z * math.sqrt(bound * (1 - bound) / n)
                assert abs(correct / n - bound) == pytest.approx(distance)


def test_wilson_refuses_what_is_no_proportion() -> None:
    with pytest.raises(ValueError, match="0 trials"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="5 successes"):
        wilson(5, 4)


def test_the_mean_has_its_standard_error() -> None:
    # standard deviation of 1..5 is sqrt(2.5); its standard error sqrt(0.5)
    interval = of_mean([1, 2, 3, 4, 5], z=1)
    assert interval == pytest.approx((3 - math.sqrt(0.5), 3 + math.sqrt(0.5)))
    assert of_mean([4.0]) is None


def test_a_constant_ratio_is_certain() -> None:
    assert of_ratio([2, 4, 8], [1, 2, 4]) == pytest.approx((2, 2))
    low, high = of_ratio([2, 4, 9], [1, 2, 4]) or (0, 0)
    assert low < 15 / 7 < high
