"""What happens when a step goes wrong: not a number stops the run, a spike follows the rule."""

from __future__ import annotations

import json
import logging
import math
from typing import Any, Literal

import pytorch_lightning as pl
import torch.distributed as dist
from torch.optim import Optimizer

from marco.config.redact import write
from marco.errors import ConfigError, TrainingError
from marco.tracking.alerts import alert
from marco.training.checkpoint import discard_after, latest, load
from marco.training.module import MarcoModule
from marco.training.spikes import SpikeRule

log = logging.getLogger(__name__)

FILE = "bad_batch.json"


class Stability(pl.Callback):  # type: ignore[misc]
    """Judges every optimizer step before it is taken.

    A loss or gradient that is not a number stops the run: the sequences of the step are written
    to `bad_batch.json`, and the checkpoints before it stay. Spikes are counted and, by choice,

    - `ignore`: taken like any step (the default; nothing is counted);
    - `skip`: their gradient is thrown away;
    - `rollback`: skipped too, and after `patience` of them in a row weights and optimizer go back
      to the last checkpoint, while the data goes on, past what caused them.

    Args:
        spikes: what to do with a spike.
        window: steps that the rule looks back on.
        sigmas: standard deviations above their mean that make a spike.
        patience: spikes in a row before going back.
        rollbacks: how often to go back before the run is given up.
    """

    def __init__(
        self,
        spikes: Literal["ignore", "skip", "rollback"] = "ignore",
        window: int = 128,
        sigmas: float = 6.0,
        patience: int = 3,
        rollbacks: int = 3,
    ) -> None:
        for key, value in (("window", window - 3), ("sigmas", sigmas), ("patience", patience)):
            if value <= 0:
                raise ConfigError(f"callbacks.stability.{key} is too small.")
        self.spikes = spikes
        self.patience = patience
        self.rollbacks = rollbacks
        self.counts = {"skipped": 0, "rolled_back": 0}
        self._rule = SpikeRule(window, sigmas)
        self._in_a_row = 0

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Look at loss and gradient norm, the same on every process."""
        assert isinstance(pl_module, MarcoModule)
        metrics = pl_module.measure()
        loss, norm = metrics["train/loss"], metrics["train/gradient_norm"]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._refuse(pl_module, loss, norm)
        spike = self.spikes != "ignore" and self._rule.is_spike(loss, norm)
        if spike:
            self._in_a_row += 1
            self.counts["skipped"] += 1
            optimizer.zero_grad(set_to_none=True)
            what = f"skipped: loss {loss:.3f}, gradient norm {norm:.3g}"
            self._log(trainer, pl_module, "Loss spike", what)
            if self.spikes == "rollback" and self._in_a_row >= self.patience:
                self._roll_back(trainer, pl_module)
            return
        self._in_a_row = 0

    def state_dict(self) -> dict[str, Any]:
        """Counts and window, so that a resumed run judges alike."""
        if self.spikes == "ignore":
            return {}
        return {"counts": self.counts, "row": self._in_a_row, "window": self._rule.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up counts and window."""
        self.counts = dict(state_dict["counts"])
        self._in_a_row = state_dict["row"]
        self._rule.load_state_dict(state_dict["window"])

    def _roll_back(self, trainer: pl.Trainer, module: MarcoModule) -> None:
        path = latest(module.context.checkpoints)
        if path is None or self.counts["rolled_back"] >= self.rollbacks:
            why = "no checkpoint yet" if path is None else f"went back {self.rollbacks} times"
            raise TrainingError(f"The loss keeps spiking at step {module.step + 1}, and {why}.")
        loaded = load(
            path,
            model=module.model,
            optimizer=trainer.optimizers[0],
            tokenizer_fingerprint=module.context.tokenizer_fingerprint,
            restore_rng=False,
        )
        discard_after(module.context.checkpoints, loaded.step)
        self.counts["rolled_back"] += 1
        self._in_a_row = 0
        self._log(trainer, module, "Rolled back", f"rolled back to the weights of {path.name}")

    def _log(self, trainer: pl.Trainer, module: MarcoModule, title: str, what: str) -> None:
        log.warning("Step %d %s", module.step + 1, what)
        alert(
            trainer.loggers, title, f"{module.context.folder.name}, step {module.step + 1}: {what}"
        )
        counts = {f"train/{key}": float(value) for key, value in self.counts.items()}
        for logger in trainer.loggers:
            logger.log_metrics({"tokens": module.tokens_seen, **counts}, step=module.step + 1)

    def _refuse(self, module: MarcoModule, loss: float, norm: float) -> None:
        rows: list[Any] = [module.rows]
        if dist.is_initialized():
            rows = [None] * dist.get_world_size()
            dist.all_gather_object(rows, module.rows)
        sequences = [
            {"language": language, "draw": draw} for part in rows for language, draw in part
        ]
        losses = {language: str(value) for language, value in module.language_losses.items()}
        path = module.context.folder / FILE
        record = {
            "step": module.step + 1,
            "loss": str(loss),
            "gradient_norm": str(norm),
            "loss_by_language": losses,
            "sequences": sequences,
        }
        if module.global_rank == 0:
            write(json.dumps(record, indent=1) + "\n", path)
        kept = latest(module.context.checkpoints)
        raise TrainingError(
            f"Step {module.step + 1}: loss {loss}, gradient norm {norm}. The languages and "
            f"sequences of the batch are in {path}; the last good checkpoint is "
            f"{kept.name if kept else 'not written yet'}."
        )
