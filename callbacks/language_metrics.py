"""The training's own numbers, overall and language by language."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from marco.data.ledger import FIELDS
from marco.errors import ConfigError
from marco.tracking.protocol import TrackedModule

LOGGED = (*FIELDS, "epochs")


class LanguageMetrics(Callback):  # type: ignore[misc]
    """Logs the loss and, for every language, its loss, tokens and epochs.

    Every ``every_n_steps`` optimizer steps: ``train/loss`` and ``train/loss/<language>`` (nats a
    token, the mean over the tokens since the last time; of preferences: over the pairs; a language
    that had none is absent), likewise what the objective measures besides, such as
    ``train/reward_margin/<language>``, ``train/gradient_norm`` (the mean of the steps),
    ``train/learning_rate`` (of the last step), and of the ledger, so far:
    ``data/tokens/<language>``, ``data/epochs/<language>``, and likewise the ledger's other fields
    (``marco.data.ledger``). A source of the mix that is no
    language has its own name there.

    The sums of an unfinished interval are in the checkpoint, so a resumed run logs what an
    uninterrupted one does. For that the checkpoint is written after this callback has seen the
    step; Lightning calls subclasses of its ``Checkpoint`` last.

    Args:
        every_n_steps: optimizer steps between two values.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        super().__init__()
        if every_n_steps < 1:
            raise ConfigError(
                f"callbacks.language_metrics.every_n_steps={every_n_steps}: at least 1"
            )
        self.every_n_steps = every_n_steps
        self._seen = 0  # target tokens (of preferences: documents) of the run at the last step
        self._language_seen: dict[str, int] = {}
        self._steps = 0
        self._norms = 0.0
        self._loss = 0.0  # Σ loss × tokens
        self._tokens = 0
        self._language_loss: dict[str, float] = {}
        self._language_tokens: dict[str, int] = {}
        self._measures: dict[str, dict[str, float]] = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Add an optimizer step to the sums; log when it is due."""
        module: TrackedModule = pl_module
        if not module.at_boundary:
            return
        self._add(module)
        if module.step % self.every_n_steps == 0:
            self._log(trainer, module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the last, shorter interval once the budget is spent."""
        module: TrackedModule = pl_module
        # an interrupted run continues its interval after the resume instead
        if self._steps and module.tokens_seen >= module.total_tokens:
            self._log(trainer, module)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the unfinished interval."""
        return {
            "seen": self._seen,
            "language_seen": dict(self._language_seen),
            "steps": self._steps,
            "norms": self._norms,
            "loss": self._loss,
            "tokens": self._tokens,
            "language_loss": dict(self._language_loss),
            "language_tokens": dict(self._language_tokens),
            "measures": {name: dict(sums) for name, sums in self._measures.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue an interval."""
        self._seen = int(state_dict["seen"])
        self._language_seen = dict(state_dict["language_seen"])
        self._steps = int(state_dict["steps"])
        self._norms = float(state_dict["norms"])
        self._loss = float(state_dict["loss"])
        self._tokens = int(state_dict["tokens"])
        self._language_loss = dict(state_dict["language_loss"])
        self._language_tokens = dict(state_dict["language_tokens"])
        self._measures = {name: dict(sums) for name, sums in state_dict.get("measures", {}).items()}

    def _add(self, module: TrackedModule) -> None:
        targets = {name: row[module.weigh_by] for name, row in module.ledger_entries.items()}
        total = sum(targets.values())
        # a step without target tokens (a batch that was skipped) has no loss to weigh
        tokens = total - self._seen
        self._steps += 1
        self._norms += module.last_metrics["train/gradient_norm"]
        self._loss += module.last_metrics["train/loss"] * tokens if tokens else 0.0
        self._tokens += tokens
        self._seen = total
        for language, loss in module.language_losses.items():
            count = targets[language] - self._language_seen.get(language, 0)
            if count:
                self._language_loss[language] = (
                    self._language_loss.get(language, 0.0) + loss * count
                )
                self._language_tokens[language] = self._language_tokens.get(language, 0) + count
                for name, values in module.language_measures.items():
                    sums = self._measures.setdefault(name, {})
                    sums[language] = sums.get(language, 0.0) + values[language] * count
        self._language_seen = targets

    def _log(self, trainer: Trainer, module: TrackedModule) -> None:
        metrics: dict[str, float] = {
            "tokens": module.tokens_seen,
            "train/learning_rate": module.last_metrics["train/learning_rate"],
            "train/gradient_norm": self._norms / self._steps,
        }
        if self._tokens:
            metrics["train/loss"] = self._loss / self._tokens
        for language, total in sorted(self._language_loss.items()):
            metrics[f"train/loss/{language}"] = total / self._language_tokens[language]
        for name, sums in self._measures.items():
            metrics[f"train/{name}"] = sum(sums.values()) / self._tokens
            for language, total in sorted(sums.items()):
                metrics[f"train/{name}/{language}"] = total / self._language_tokens[language]
        for language, counts in sorted(module.ledger_entries.items()):
            metrics.update({f"data/{field}/{language}": counts[field] for field in LOGGED})
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=module.step)
        self._steps = self._tokens = 0
        self._norms = self._loss = 0.0
        self._language_loss = {}
        self._language_tokens = {}
        self._measures = {}
