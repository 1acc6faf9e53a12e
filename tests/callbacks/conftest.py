"""A toy LightningModule that keeps the callbacks' protocol, with numbers known in advance."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers.logger import Logger
from torch.utils.data import DataLoader

from marco.data.ledger import FIELDS, entry

TOKENS_PER_STEP = 100


class Toy(LightningModule):
    """Every step trains 100 tokens; even steps see English and Thai, odd ones English alone.

    The loss of step n is ``10 / n``; English's is the same, Thai's twice that.
    """

    def __init__(self, steps: int = 20, accumulate: int = 2) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.accumulate = accumulate
        self.tokens_seen = 0
        self.step = 0
        self.total_tokens = steps * TOKENS_PER_STEP
        self.stages: tuple[tuple[str, int], ...] = ()
        self.at_boundary = False
        self.last_metrics: dict[str, float] = {}
        self.flops_per_token = 2.0e9
        self.ledger = {"eng": [0] * len(FIELDS), "tha": [0] * len(FIELDS)}
        self.language_losses: dict[str, float] = {}
        self.language_measures: dict[str, dict[str, float]] = {}
        self.weigh_by = "target_tokens"
        self.world_size = 2
        self.stop_at: int | None = None

    @property
    def ledger_entries(self) -> dict[str, dict[str, Any]]:
        return {code: entry(counts, 1000) for code, counts in self.ledger.items()}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        stop = self.total_tokens // TOKENS_PER_STEP if self.stop_at is None else self.stop_at
        if self.step >= stop:
            self.trainer.should_stop = True
            return -1
        return None

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.at_boundary = batch_idx % self.accumulate == self.accumulate - 1
        if self.at_boundary:
            self.step += 1
            self.tokens_seen += TOKENS_PER_STEP
            loss = 10 / self.step
            self.last_metrics = {
                "train/loss": loss,
                "train/gradient_norm": float(self.step),
                "train/learning_rate": 1e-3 * self.step,
            }
            counts = {"eng": 60, "tha": 40} if self.step % 2 == 0 else {"eng": 100}
            losses = {"eng": loss, "tha": 2 * loss}
            self.language_losses = {code: losses[code] for code in counts}
            for code, count in counts.items():
                self.ledger[code] = [number + count for number in self.ledger[code]]
        return self.layer(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["toy"] = [self.step, self.tokens_seen, dict(self.ledger)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.step, self.tokens_seen, self.ledger = checkpoint["toy"]


class Recorder(Logger):
    """Keeps what is logged."""

    name = version = "recorder"

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.lines.append((step, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


Fit = Callable[..., Recorder]


@pytest.fixture
def toy() -> type[Toy]:
    return Toy


@pytest.fixture
def fit_toy(tmp_path: Path) -> Fit:
    """Train a Toy with callbacks and return what they logged."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    def fit(
        module: Toy,
        *callbacks: Callback,
        resume: Path | None = None,
        save: Path | None = None,
        bar: bool = False,
    ) -> Recorder:
        recorder = Recorder()
        trainer = Trainer(
            max_epochs=-1,
            accelerator="cpu",
            devices=1,
            accumulate_grad_batches=module.accumulate,
            logger=recorder,
            callbacks=list(callbacks),
            enable_progress_bar=bar,
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        # the loader's state is no concern here: one long epoch
        trainer.fit(
            module,
            DataLoader(torch.ones(1000, 4), batch_size=1),
            ckpt_path=None if resume is None else str(resume),
            weights_only=True,
        )
        if save is not None:
            trainer.save_checkpoint(save)
        return recorder

    return fit
