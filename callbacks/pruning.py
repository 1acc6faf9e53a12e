"""Gives a run of an Optuna search up when the runs before it were better at the same point."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytorch_lightning as pl

from callbacks.eval_sweep import EvalSweep
from marco.config.earlier import PRUNED
from marco.config.redact import write
from marco.errors import ConfigError
from marco.evaluation.rows import macro
from marco.evaluation.sweep import EvaluationSweep
from marco.sweeping.study import FILE, prune
from marco.training.module import MarcoModule

log = logging.getLogger(__name__)

METRIC = "bits_per_byte"


class Pruning(pl.Callback):  # type: ignore[misc]
    """Tells the study of the sweep every evaluation, and stops by the median rule.

    A run is given up where its best macro bits per byte so far are worse than the median, over the
    finished trials, of what they had after as many tokens. It then ends without a summary, and
    `pruned.json` says when and at what. A run outside a search is left alone. It comes after
    `EvalSweep` in the list.

    Args:
        after_trials: finished trials before anything is given up.
        after_tokens: tokens before a run is given up.
    """

    def __init__(self, after_trials: int = 4, after_tokens: int = 0) -> None:
        for key, value in (("after_trials", after_trials), ("after_tokens", after_tokens)):
            if value < 0:
                raise ConfigError(f"callbacks.pruning.{key}={value} is negative.")
        self.after_trials = after_trials
        self.after_tokens = after_tokens
        self._told = 0
        self._folder: Path | None = None

    def attach(self, sweep: EvaluationSweep | None, folder: Path) -> None:
        """Give the callback the run's folder; its name is the trial's number."""
        inside = (folder.parent / FILE).is_file() and folder.name.isdecimal()
        self._folder = folder if inside and sweep is not None else None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: object
    ) -> None:
        """Judge the evaluation that was just made."""
        assert isinstance(pl_module, MarcoModule)
        if self._folder is None or not pl_module.at_boundary or pl_module.finished:
            return
        history = next(c.history for c in trainer.callbacks if isinstance(c, EvalSweep))
        if not history or history[-1].step != pl_module.step or self._told == pl_module.step:
            return
        self._told = pl_module.step
        value = macro(history[-1].rows, METRIC)
        worse = False
        if trainer.is_global_zero and value is not None:
            worse = prune(
                self._folder, pl_module.tokens_seen, value, self.after_trials, self.after_tokens
            )
        if trainer.strategy.broadcast(worse):
            trainer.should_stop = True
            pl_module.context.given_up = True
            if trainer.is_global_zero:
                record = {"tokens": pl_module.tokens_seen, METRIC: value}
                write(json.dumps(record) + "\n", self._folder / PRUNED)
                log.info(
                    "Pruned after %s tokens: %.4f bits per byte are worse than the median.",
                    f"{pl_module.tokens_seen:,}",
                    value,
                )
