from __future__ import annotations

import re
from itertools import pairwise

import pytest

from marco.evaluation.ranking.parallel import axis_of, parallel


def test_few_numbers_stand_evenly_and_rise() -> None:
    axis = axis_of("lr", ["0.01", "0.001", "0.1", "0.01"])
    assert [axis.at(value) for value in ("0.001", "0.01", "0.1")] == pytest.approx(
        [1 / 6, 1 / 2, 5 / 6]
    )
    assert list(axis.ticks) == ["0.001", "0.01", "0.1"]


def test_words_stand_in_their_order_from_the_top() -> None:
    axis = axis_of("mix", ["uniform", "natural", "uniform"])
    assert axis.at("uniform") == 0.75
    assert axis.at("natural") == 0.25


def test_what_a_run_lacks_stands_below_the_numbers() -> None:
    axis = axis_of("cap", ["4", "–", "1"])
    assert axis.at("–") < axis.at("1") < axis.at("4")


def test_many_numbers_stand_where_they_are() -> None:
    over_decades = axis_of("lr", [str(10.0**-i) for i in range(9)])
    assert over_decades.at("1.0") == 1
    assert over_decades.at("0.0001") == pytest.approx(0.5)
    plain = axis_of("alpha", [str(i / 10) for i in range(11)] + ["–"])
    assert plain.at("0.3") == pytest.approx(0.3)
    assert 2 < len(plain.ticks) <= 9
    heights = sorted(plain.at(tick) for tick in plain.ticks)
    assert min(b - a for a, b in pairwise(heights)) > 0.12


@pytest.mark.parametrize("lower", [True, False])
def test_better_is_on_top(lower: bool) -> None:
    results = [[1.0, 1.2], [2.0]] if lower else [[2.0, 1.8], [1.0]]
    drawn = parallel(["<mix>"], [["a"], ["b"]], results, title="loss", lower=lower)
    ends = [float(points[1]) for points in re.findall(r"(\S+),(\S+)\"/>", drawn)]
    worst, best = ends  # the best is drawn last
    assert best < worst
    assert "<mix>" not in drawn
    assert drawn.count("<circle") == 3
    assert drawn.count('class="best"') == 1


def test_one_result_is_in_the_middle() -> None:
    drawn = parallel([], [[]], [[1.0]], title="loss", lower=True)
    assert drawn.count("<circle") == 1
