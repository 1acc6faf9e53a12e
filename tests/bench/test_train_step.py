"""The bench of a CPU's training steps: what it is asked, and that contenders train the same."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import pytest

from bench import train_step
from bench.train_step_contender import SHAPES, measure

SMALL: dict[str, Any] = SHAPES["A"] | {
    "rows": 2,
    "length": 32,
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shapes", "C"], "--shapes: 'C' is not known. There are A, B."),
        (["--shapes", "a"], "Did you mean 'A'?"),
        (["--shapes", ""], "There are A, B."),
        (["--rounds", "0"], "--rounds and --steps must be at least 1."),
        (["--steps", "0"], "--rounds and --steps must be at least 1."),
    ],
)
def test_what_cannot_be_measured(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_step", *arguments])
    with pytest.raises(SystemExit, match=re.escape(message)):
        train_step.main()


def test_contenders_train_the_same() -> None:
    found = {name: measure(name, SMALL, 2) for name in ("ours", "eager")}
    assert train_step.disagreement({name: x["loss"] for name, x in found.items()}) is None
    for result in found.values():
        assert result["tokens"] == 64
        assert result["loss"] == pytest.approx(math.log(128), rel=0.1)
        assert result["seconds"] > 0


@pytest.mark.parametrize(
    ("ours", "differ"), [(2.01, False), (1.97, False), (2.05, True), (1.95, True), (math.nan, True)]
)
def test_losses_that_differ_are_named(ours: float, differ: bool) -> None:
    found = train_step.disagreement({"eager": 2.0, "ours": ours, "compile": 2.0})
    assert (found is not None) == differ
    if differ:
        assert found is not None
        assert f"ours {ours:.4f}" in found


def test_a_bench_whose_losses_differ_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(contender: str, shape: str, steps: int) -> dict[str, Any]:
        loss = 5.0 if contender == "compile" else 4.0
        return {"seconds": 1.0, "memory": 1e6, "tokens": 9, "roofline": 0.5, "loss": loss}

    monkeypatch.setattr(train_step, "run", run)
    monkeypatch.setattr(sys, "argv", ["train_step", "--rounds", "1", "--shapes", "B"])
    with pytest.raises(SystemExit, match=r"Shape B: the losses differ: .*compile 5\.0000"):
        train_step.main()
    assert '"model": "B"' in capsys.readouterr().out.splitlines()[-1]
