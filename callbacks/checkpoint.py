"""When checkpoints are written, and what is kept of them."""

from __future__ import annotations

import logging
import signal
from typing import Any

import pytorch_lightning as pl

from callbacks.eval_sweep import EvalSweep
from marco.errors import ConfigError
from marco.evaluation.rows import macro
from marco.tracking.pauses import training_paused
from marco.training.checkpoint import CheckpointWriteError, attach_metrics, retain, save
from marco.training.module import MarcoModule

log = logging.getLogger(__name__)

METRIC = "bits_per_byte"
KEEP_LAST = 2  # the one before the newest is what a disk that flips bits leaves


class Checkpoint(pl.Callback):  # type: ignore[misc]
    """Writes a checkpoint every N tokens, at the end, and when the run is interrupted.

    It comes after `EvalSweep` in the list, so that a checkpoint knows the evaluation of its step.
    A write that fails (a full disk) is said, and training goes on.

    Args:
        every_tokens: tokens between two checkpoints; null writes only at the end.
        keep_best: how many checkpoints to keep besides the last, by macro bits per byte.
        disk_budget_gb: what all kept ones may take together, in 10^9 bytes; null has no limit.
    """

    def __init__(
        self,
        every_tokens: int | None = None,
        keep_best: int = 1,
        disk_budget_gb: float | None = 10.0,
    ) -> None:
        if every_tokens is not None and every_tokens < 1:
            raise ConfigError(f"callbacks.checkpoint.every_tokens={every_tokens}: at least 1.")
        if keep_best < 0:
            raise ConfigError(f"callbacks.checkpoint.keep_best={keep_best} is negative.")
        if disk_budget_gb is not None and disk_budget_gb <= 0:
            raise ConfigError(f"callbacks.checkpoint.disk_budget_gb={disk_budget_gb}: above 0.")
        self.every_tokens = every_tokens
        self.keep_best = keep_best
        self.disk_budget_gb = disk_budget_gb
        self._saved_step = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A checkpoint that was just read need not be written again."""
        assert isinstance(pl_module, MarcoModule)
        self._saved_step = pl_module.step if pl_module.context.resume_from else -1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Save when it is time, or when somebody asked to stop."""
        assert isinstance(pl_module, MarcoModule)
        if not pl_module.at_boundary:
            return
        stop = pl_module.context.interrupt.agreed(pl_module.device)
        if stop:
            trainer.should_stop = True
        if stop or self._due(pl_module) or pl_module.finished:
            self.save(trainer, pl_module)
        if stop:
            name = signal.Signals(stop).name
            log.info("%s received: stopping after step %d.", name, pl_module.step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the last evaluation beside the last checkpoint."""
        assert isinstance(pl_module, MarcoModule)
        if self._saved_step == pl_module.step:
            self._tidy(trainer, pl_module)

    def _due(self, module: MarcoModule) -> bool:
        if self.every_tokens is None:
            return False
        before = module.tokens_seen - module.tokens_per_step
        return module.tokens_seen // self.every_tokens > before // self.every_tokens

    def save(self, trainer: pl.Trainer, module: MarcoModule) -> None:
        """Write one of this step now; a write that fails is said."""
        states = {
            callback.state_key: state
            for callback in trainer.callbacks
            if (state := callback.state_dict())
        }
        ids = [getattr(logger, "run_id", None) for logger in trainer.loggers]
        progress = {
            **module.progress(),
            "callbacks": states,
            "wandb_run_id": next((run_id for run_id in ids if run_id), None),
        }
        with training_paused(trainer.callbacks, "saving"):
            try:
                save(
                    module.context.checkpoints,
                    model=module.model,
                    optimizer=trainer.optimizers[0],
                    progress=progress,
                    config=module.context.config,
                    tokenizer_fingerprint=module.context.tokenizer_fingerprint,
                    step=module.step,
                    tokens=module.tokens_seen,
                )
            except CheckpointWriteError as error:
                log.warning("No checkpoint of step %d: %s", module.step, error)
                return
        self._saved_step = module.step
        self._tidy(trainer, module)

    def _tidy(self, trainer: pl.Trainer, module: MarcoModule) -> None:
        """Note what was measured at this step, and remove what need not be kept."""
        for callback in trainer.callbacks:
            if isinstance(callback, EvalSweep):
                rows = [e.rows for e in callback.history if e.step == module.step]
                value = macro(rows[-1], METRIC) if rows else None
                if value is not None:
                    path = module.context.checkpoints / f"step-{module.step:08d}"
                    try:
                        attach_metrics(path, {METRIC: value})
                    except CheckpointWriteError as error:
                        log.warning("%s", error)
        retain(
            module.context.checkpoints,
            metric=METRIC,
            best_k=self.keep_best,
            keep_last=KEEP_LAST,
            disk_budget_gb=self.disk_budget_gb,
        )
