from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback

from callbacks import throughput
from callbacks.throughput import Throughput, peak_memory_bytes
from marco.errors import ConfigError
from marco.tracking.clock import TrainingClock
from marco.tracking.pauses import training_paused
from marco.tracking.protocol import TrackedModule


class FakeTime:
    """A step takes 2 s, an evaluation after every fourth one 1,000 s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 50.0
        monkeypatch.setattr(throughput, "TrainingClock", lambda: TrainingClock(lambda: self.now))

    def passing(self) -> Callback:
        parent = self

        class Passing(Callback):
            def on_train_batch_start(self, *_: Any) -> None:
                parent.now += 1.0  # two micro-batches a step

            def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
                if pl_module.at_boundary and pl_module.step % 4 == 0:
                    with training_paused(trainer.callbacks, "evaluating"):
                        parent.now += 1000.0

        return Passing()


def test_toy_keeps_the_protocol(toy: Any) -> None:
    assert isinstance(toy(), TrackedModule)


def test_speed_leaves_evaluation_out_and_goes_on_after_a_resume(
    toy: Any, fit_toy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = FakeTime(monkeypatch)
    monkeypatch.setattr(throughput, "peak_memory_bytes", lambda device: 4096)
    first = toy(steps=20)
    first.stop_at = 7
    callback = Throughput(every_n_steps=5)
    recorder = fit_toy(first, clock.passing(), callback, save=tmp_path / "a.ckpt")
    clock.now += 1e6  # the machine was down
    again = Throughput(every_n_steps=5)
    resumed = fit_toy(toy(steps=20), clock.passing(), again, resume=tmp_path / "a.ckpt")
    assert [step for step, _ in recorder.lines + resumed.lines] == [5, 10, 15, 20]
    for step, metrics in recorder.lines + resumed.lines:
        assert metrics["tokens"] == 100 * step
        assert metrics["train/peak_memory_bytes"] == 4096
        assert "train/mfu" not in metrics
    speeds = [metrics["train/tokens_per_second"] for _, metrics in recorder.lines]
    assert speeds == [pytest.approx(50.0)]
    # the toy stops in a batch that is not trained: a second each time
    assert resumed.lines[-1][1]["train/seconds"] == pytest.approx(40.0, abs=2.0)
    assert again.seconds == pytest.approx(40.0, abs=3.0)
    assert again.peak_memory_bytes == 4096


def test_unknown_device_is_said_once(
    toy: Any, fit_toy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fit_toy(toy(steps=3), Throughput(every_n_steps=1))
    (message,) = [r.message for r in caplog.records if "MFU" in r.message]
    assert message.startswith("no MFU: the peak FLOP/s of 'cpu' is not known")


def test_mfu_of_a_known_device(toy: Any, fit_toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeTime(monkeypatch)

    class OnGpu(Throughput):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_start(trainer, pl_module)
            self._peak_flops = 1e12

    recorder = fit_toy(toy(steps=2), clock.passing(), OnGpu(every_n_steps=2))
    # 50 tokens/s × 2e9 FLOPs over two devices of 1e12 FLOP/s
    assert recorder.lines[0][1]["train/mfu"] == pytest.approx(0.05)


def test_peak_memory_counts_bytes() -> None:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kibibytes = int(status["VmHWM"].split()[0])
    assert peak_memory_bytes(torch.device("cpu")) == pytest.approx(kibibytes * 1024, rel=0.05)


def test_clock_runs_in_real_time(toy: Any, fit_toy: Any) -> None:
    callback = Throughput()
    begin = time.perf_counter()
    fit_toy(toy(steps=3), callback)
    assert 0 < callback.seconds < time.perf_counter() - begin


def test_wrong_interval() -> None:
    with pytest.raises(ConfigError, match="every_n_steps=0"):
        Throughput(every_n_steps=0)
