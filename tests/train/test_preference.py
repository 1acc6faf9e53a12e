"""A run on preferences as a user starts it, and goes on with it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from support import FAST, last, metrics, train

from marco.config import bind_all, compose
from marco.errors import ConfigError
from marco.training.checks import check_run

DPO = (
    "data=preference_embedded",
    "objective=dpo",
    "batch.packing=best_fit",
    "batch.sequence_length=1024",
    "callbacks.language_metrics.every_n_steps=1",
    "evaluation=none",
    "trainer.precision=fp32",
)


def test_run_and_resume(tmp_path: Path) -> None:
    done = train(tmp_path, *FAST, *DPO, "tokens=8192")
    assert done.returncode == 0, done.stderr
    run = last(tmp_path)
    reference = (run / "reference.safetensors").read_bytes()
    done = train(tmp_path, "resume=last", "tokens=12288")
    assert done.returncode == 0, done.stderr
    assert (run / "reference.safetensors").read_bytes() == reference
    lines = [line for line in metrics(run) if "train/loss" in line]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[0]["train/loss"] == pytest.approx(math.log(2), rel=1e-4)  # no margins yet
    for line in lines:
        languages = {key.rpartition("/")[2] for key in line if key.startswith("train/loss/")}
        for name in ("reward_margin", "reward_accuracy", "log_prob_chosen"):
            logged = {key for key in line if key.startswith(f"train/{name}/")}
            assert logged == {f"train/{name}/{language}" for language in languages}
    assert lines[-1]["train/reward_margin"] != 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (DPO[:1], "pairs of answers: choose objective=dpo"),
        (DPO[1:3], "has only one: choose data=preference"),
        (DPO[:2], r"batch\.packing=concat would cut pairs of answers: say best_fit"),
        ((*DPO, "data.max_tokens=2000"), r"data\.max_tokens=2000: a pair lies in one sequence"),
    ],
)
def test_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        check_run(bind_all(compose([*FAST, *overrides])))
