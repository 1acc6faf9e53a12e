from __future__ import annotations

from typing import Any

from marco.evaluation.history import Evaluation
from marco.evaluation.rows import Row
from marco.evaluation.scalars import directions, scalars
from marco.tracking.directions import set_directions
from marco.tracking.wandb_metrics import Definitions


class Run:
    def __init__(self) -> None:
        self.defined: list[tuple[str, str, str | None]] = []

    def define_metric(self, name: str, step_metric: str, summary: str | None = None) -> None:
        self.defined.append((name, step_metric, summary))


def row(metric: str, language: str, value: float | None, task: str = "likelihood") -> Row:
    return Row(task, language, "low", metric, value, 5)


def test_what_is_new_is_defined_once_and_patterns_never_overlap() -> None:
    run, definitions = Run(), Definitions()
    definitions.set_directions({"eval/chrf/macro": "higher", "eval/bits_per_byte/tha": "lower"})
    definitions.define(run, ["tokens", "train/loss", "train/loss/swh"])
    assert run.defined == [("train/*", "tokens", None)]
    keys = ["tokens", "eval/chrf/macro", "eval/chrf/tha", "eval/bits_per_byte/tha", "report"]
    definitions.define(run, keys)
    definitions.define(run, keys)
    assert run.defined[1:] == [
        ("eval/*", "tokens", None),
        ("eval/chrf/macro", "tokens", "max,last"),
        ("eval/bits_per_byte/tha", "tokens", "min,last"),
        ("report", "tokens", None),
    ]


def test_directions_are_of_the_metrics_and_not_of_the_tasks() -> None:
    rows = (
        row("bits_per_byte", "swh", 2.0),
        row("length_ratio", "swh", 1.0, task="generation"),
        row("acc", "swh", 0.5, task="belebele"),
        row("brier_score", "swh", 0.2, task="belebele"),
        row("acc", "tha", None, task="xcopa"),
    )
    evaluation = Evaluation(3, 300, rows)
    found = directions(evaluation)
    assert found["eval/bits_per_byte/swh"] == found["eval/bits_per_byte/group/low"] == "lower"
    assert found["eval/belebele/macro"] == "higher"
    assert found["eval/belebele.brier_score/swh"] == "lower"
    neither = {key for key in scalars(evaluation) if key not in found}
    assert neither == {f"eval/generation/{part}" for part in ("macro", "swh", "group/low")}


def test_only_loggers_that_want_directions_are_told() -> None:
    class Directed:
        told: dict[str, Any] = {}

        def set_directions(self, directions: dict[str, Any]) -> None:
            self.told = directions

    directed = Directed()
    set_directions([object(), directed], {"eval/a/macro": "lower"})
    assert directed.told == {"eval/a/macro": "lower"}
