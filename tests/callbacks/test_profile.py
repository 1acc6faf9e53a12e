from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Callback

from callbacks.profile import Profile
from marco.errors import ConfigError


def test_table_and_trace_of_the_steps_after_the_warm_up(
    toy: Any, fit_toy: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = toy(steps=8)
    seen: list[int] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if callback._profiler is not None:
                seen.append(pl_module.step)

    callback = Profile(warmup_steps=2, steps=3)
    fit_toy(module, Watch(), callback)
    assert sorted(set(seen)) == [2, 3, 4, 5]  # from the first micro-batch of step 3 to the end of 5
    folder = tmp_path / "profile"
    table = (folder / "top_operations.txt").read_text(encoding="utf-8")
    assert "Self CPU" in table
    assert "aten::" in table
    events = json.loads((folder / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    backward = [
        e for e in events if e.get("name") == "autograd::engine::evaluate_function: PowBackward0"
    ]
    assert len(backward) == 2 * 3  # micro-batches × steps
    printed = capsys.readouterr().out
    assert str(folder / "top_operations.txt") in printed
    assert str(folder / "trace.json") in printed


def test_a_training_that_ends_earlier_says_so(
    toy: Any, fit_toy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit_toy(toy(steps=2), Profile(warmup_steps=5))
    assert "nothing was profiled" in caplog.text
    assert not (tmp_path / "profile").exists()


def test_a_folder_that_cannot_be_written_stops_nothing(
    toy: Any, fit_toy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file")
    module = toy(steps=4)
    fit_toy(module, Profile(warmup_steps=1, steps=1, folder=str(tmp_path / "taken")))
    assert module.step == 4
    assert [r.levelno for r in caplog.records if "could not be written" in r.message] == [
        logging.WARNING
    ]


@pytest.mark.parametrize(("key", "value"), [("warmup_steps", -1), ("steps", 0)])
def test_wrong_values(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{key}={value}"):
        Profile(**{key: value})
