"""Spikes: planted ones are skipped or rolled back, by rule, and counted."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from callbacks.stability import Stability
from marco.data.batches import Cut, MixedBatches
from marco.data.stores import MemoryStore, Source
from marco.errors import ConfigError, TrainingError
from marco.mixing import MixSchedule, QuotaOrder, Segment
from marco.models import QwenModel
from marco.objectives.causal_lm import CausalLanguageModel
from marco.tracking.local import ALERTS, LocalLogger
from marco.training.checkpoint import checkpoints, save
from marco.training.context import RunContext
from marco.training.module import MarcoModule
from marco.training.optimizers import AdamW
from marco.training.schedules import Constant
from marco.training.spikes import SpikeRule
from marco.training.trainer import TrainerSettings


class Planted(MarcoModule):
    """Reports a huge loss at the steps it is told to; gradients stay as they are."""

    spikes: tuple[int, ...] = ()

    def measure(self) -> dict[str, float]:
        metrics = super().measure()
        if self.step in self.spikes:
            metrics["train/loss"] = 100.0
        return metrics


class Watch(pl.Callback):
    """The weights after every step; optionally a checkpoint after one of them."""

    def __init__(self, save_at: int = -1) -> None:
        self.save_at = save_at
        self.weights: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:  # type: ignore[no-untyped-def]
        weight = pl_module.model.network.model.embed_tokens.weight
        self.weights.append(weight.detach().clone())
        if pl_module.step == self.save_at:
            save(
                pl_module.context.checkpoints,
                model=pl_module.model,
                optimizer=trainer.optimizers[0],
                progress={},
                config={},
                tokenizer_fingerprint="none",
                step=pl_module.step,
                tokens=0,
            )


def run(
    folder: Path, stability: Stability, spikes: tuple[int, ...], steps: int = 16, save_at: int = -1
) -> tuple[Planted, list[torch.Tensor]]:
    tokens = np.random.default_rng(0).integers(1, 40, 300).astype(np.int32)
    tokens[9::10] = 0
    source = Source("swh", "swh", MemoryStore(tokens, np.arange(10, 301, 10)), 0)
    model = QwenModel("qwen2", 16, 32, 1, 2, 1, 64, True).build(40, seed=0)
    module = Planted(
        CausalLanguageModel(model, 40),
        sources=[source],
        optimizer=AdamW(lr=1e-2),
        schedule=Constant(warmup=0.0),
        cut=Cut(2, 2),
        length=8,
        total_steps=steps,
        flops_per_token=1.0,
        context=RunContext(folder, {"seed": 0}, "none", "none"),
    )
    module.spikes = spikes
    schedule = MixSchedule((Segment("", steps * 16, {"swh": 1.0}, {"swh": 1.0}),))
    batches = MixedBatches(
        [source],
        partial(QuotaOrder, schedule, 8),
        length=8,
        cut=Cut(2, 2),
        seed=0,
        steps=steps,
        token_bytes=np.ones(40, np.int64),
    )
    watch = Watch(save_at)
    settings = TrainerSettings("cpu", precision="fp32")
    trainer = settings.lightning(1, [stability, watch], [LocalLogger(folder)], folder)
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return module, watch.weights


def moved(weights: list[torch.Tensor], step: int) -> bool:
    return not torch.equal(weights[step], weights[step - 1])


def test_spike_is_skipped_and_counted(tmp_path: Path) -> None:
    stability = Stability("skip", window=6, sigmas=30.0)
    module, weights = run(tmp_path, stability, spikes=(8, 11))
    assert stability.counts == {"skipped": 2, "rolled_back": 0}
    assert [step for step in range(1, 16) if not moved(weights, step)] == [8, 11]
    assert module.step == 16


def test_ignoring_is_the_default(tmp_path: Path) -> None:
    stability = Stability()
    _, weights = run(tmp_path, stability, spikes=(8,))
    assert moved(weights, 8)
    assert stability.counts["skipped"] == 0
    assert stability.state_dict() == {}


def test_several_in_a_row_roll_back(tmp_path: Path) -> None:
    stability = Stability("rollback", window=6, sigmas=30.0, patience=2)
    module, weights = run(tmp_path, stability, spikes=(9, 10), save_at=5)
    assert stability.counts == {"skipped": 2, "rolled_back": 1}
    assert torch.equal(weights[10], weights[4])  # back to step 5's weights, at once
    assert not torch.equal(weights[9], weights[4])
    assert module.step == 16
    assert module.positions["swh"][0] == 32  # the data went on
    assert list(checkpoints(module.context.checkpoints)) == [5]
    alerts = [json.loads(line) for line in (tmp_path / ALERTS).read_text().splitlines()]
    assert [alert["title"] for alert in alerts] == ["Loss spike", "Loss spike", "Rolled back"]
    assert "step 10: skipped: loss 100.000" in alerts[0]["text"]
    assert "step-00000005" in alerts[2]["text"]


def test_no_checkpoint_to_go_back_to(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint yet"):
        run(tmp_path, Stability("rollback", window=6, sigmas=30.0, patience=2), spikes=(9, 10))


def test_state_goes_on(tmp_path: Path) -> None:
    first = Stability("skip", window=6, sigmas=30.0)
    run(tmp_path, first, spikes=(8,))
    second = Stability("skip", window=6, sigmas=30.0)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()


def test_rule_is_mean_and_deviations() -> None:
    rule = SpikeRule(window=8, sigmas=3)
    for value in (1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0):
        assert not rule.is_spike(value, 1.0 + value / 10)
    deviation = math.sqrt(8 * 0.25 / 7)
    assert rule.is_spike(1.5 + 3.01 * deviation, 1.1)
    assert rule.is_spike(1.5, 1.15 + 3.01 * deviation / 10)
    assert not rule.is_spike(1.5 + 2.99 * deviation, 1.1)


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match="window"):
        Stability(window=2)
