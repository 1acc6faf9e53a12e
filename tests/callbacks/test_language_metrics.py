from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Callback

from callbacks.language_metrics import LanguageMetrics
from marco.errors import ConfigError

COUNTS = ("tokens", "target_tokens", "documents", "bytes", "truncated_tokens", "padding")


def test_values_of_an_interval(toy: Any, fit_toy: Any) -> None:
    recorder = fit_toy(toy(steps=5), LanguageMetrics(every_n_steps=2))
    assert [step for step, _ in recorder.lines] == [2, 4, 5]
    assert recorder.lines[1][1] == {
        "tokens": 400,
        "train/loss": pytest.approx((10 / 3 + 10 / 4) / 2),
        "train/gradient_norm": 3.5,
        "train/learning_rate": pytest.approx(4e-3),
        # step 3: 100 English tokens, step 4: 60
        "train/loss/eng": pytest.approx((100 * 10 / 3 + 60 * 10 / 4) / 160),
        "train/loss/tha": pytest.approx(2 * 10 / 4),
        **{f"data/{field}/eng": 320 for field in COUNTS},
        **{f"data/{field}/tha": 80 for field in COUNTS},
        "data/epochs/eng": pytest.approx(0.32),
        "data/epochs/tha": pytest.approx(0.08),
    }
    last = recorder.lines[2][1]
    assert "train/loss/tha" not in last
    assert last["train/loss"] == last["train/loss/eng"] == 2.0


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_resume_logs_what_an_uninterrupted_run_logs(
    toy: Any, fit_toy: Any, tmp_path: Path, stop: int
) -> None:
    whole = fit_toy(toy(steps=10), LanguageMetrics(every_n_steps=4))
    first = toy(steps=10)
    first.stop_at = stop
    before = fit_toy(first, LanguageMetrics(every_n_steps=4), save=tmp_path / "a.ckpt")
    after = fit_toy(toy(steps=10), LanguageMetrics(every_n_steps=4), resume=tmp_path / "a.ckpt")
    assert before.lines + after.lines == whole.lines
    assert [step for step, _ in whole.lines] == [4, 8, 10]


def test_a_step_without_tokens_has_no_weight(toy: Any, fit_toy: Any) -> None:
    class Skipped(Callback):
        """The batch of step 2 was skipped: its loss is not a number, nothing was counted."""

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if pl_module.at_boundary and pl_module.step == 2:
                pl_module.tokens_seen -= 100
                for code, count in (("eng", 60), ("tha", 40)):
                    counts = pl_module.ledger[code]
                    pl_module.ledger[code] = [number - count for number in counts]
                pl_module.last_metrics["train/loss"] = float("nan")
                pl_module.language_losses["tha"] = float("nan")

    recorder = fit_toy(toy(steps=3), Skipped(), LanguageMetrics(every_n_steps=2))
    assert recorder.lines[0][1]["train/loss"] == 10.0
    assert recorder.lines[0][1]["train/loss/eng"] == 10.0
    assert "train/loss/tha" not in recorder.lines[0][1]


def test_wrong_interval() -> None:
    with pytest.raises(ConfigError, match="every_n_steps=-1"):
        LanguageMetrics(every_n_steps=-1)
