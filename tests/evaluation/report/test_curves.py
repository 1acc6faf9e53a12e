from __future__ import annotations

import pytest

from marco.evaluation.report import curves as module
from marco.evaluation.report.curves import curves
from marco.evaluation.report.measures import Measure


def test_training_is_averaged_to_what_a_screen_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POINTS", 2)
    lines = [{"tokens": 10 * at, "train/loss": float(at)} for at in (1, 2, 3, 4)]
    lines[0]["train/loss/eng"] = 5.0
    lines[1]["train/loss/source_a"] = 7.0
    made = curves([], lines)
    (loss,) = made["training"]
    assert (loss["tokens"], loss["values"]) == ([20, 40], [1.5, 3.5])
    (languages,) = made["measures"]
    assert languages["values"] == {"eng": [5.0, None], "source_a": [7.0, None]}
    assert made["languages"]["source_a"] == ["source_a", "other"]
    assert made["groups"] == ["english", "other"]


def test_too_many_evaluations_are_thinned_to_the_first_the_last_and_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "VALUES", 4)
    values = {"eng": [float(at) for at in range(8)]}
    made = curves([Measure("acc", "quiz", "acc", list(range(0, 80, 10)), values)], [])
    (measure,) = made["measures"]
    assert measure["tokens"] == [0, 20, 40, 60, 70]
    assert measure["values"] == {"eng": [0.0, 2.0, 4.0, 6.0, 7.0]}
