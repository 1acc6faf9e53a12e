from __future__ import annotations

import math

import pytest

from marco.evaluation.compare.charts import interval_chart, loss_chart, range_of
from marco.evaluation.compare.losses import LossLine
from marco.evaluation.compare.measure import Difference


def difference(value: float, low: float | None, high: float | None) -> Difference:
    return Difference(
        *(
            "t",
            "acc",
            "eng",
            0.0,
            value,
            value,
            9,
            (1, 1),
            (None, None),
            "none",
            math.nan,
            low,
            high,
        )
    )


def test_a_loss_that_is_not_a_number_is_not_drawn() -> None:
    lines = [
        LossLine(10, [3.0, 4.0]),
        LossLine(20, [2.0, math.nan]),
        LossLine(30, [None, math.inf]),
    ]
    drawn = loss_chart(lines, ["A", "B"])
    assert "nan" not in drawn
    assert drawn.count("<circle") == 3
    assert "<svg" not in loss_chart([LossLine(10, [math.nan])], ["A"])


def test_more_runs_than_colours_are_dashed() -> None:
    drawn = loss_chart([LossLine(10, [1.0] * 7)], list("ABCDEFG"))
    assert drawn.count("stroke-dasharray") == 1


def test_the_range_of_intervals_holds_zero() -> None:
    made = [difference(0.5, 0.2, 0.9), difference(0.1, None, None)]
    assert range_of(made) == (0.0, 0.9)
    assert range_of([difference(-0.5, -0.7, 0.1)]) == (-0.7, 0.1)
    assert range_of([difference(0.0, None, None)]) == (-1.0, 1.0)
    assert 'cx="4.0"' in interval_chart(difference(-0.7, None, None), -0.7, 0.1)


@pytest.mark.parametrize(("at", "expected"), [(0.0, "100.0"), (1.0, "196.0"), (-1.0, "4.0")])
def test_an_interval_is_drawn_to_scale(at: float, expected: str) -> None:
    drawn = interval_chart(difference(at, at, at), -1, 1)
    assert f'cx="{expected}"' in drawn
    assert f'x1="{expected}" x2="{expected}" y1="8"' in drawn
