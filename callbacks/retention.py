"""The guardrail of languages that must not be forgotten: a budget of regression against step 0."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import pytorch_lightning as pl

from callbacks.checkpoint import Checkpoint
from callbacks.eval_sweep import EvalSweep
from marco.errors import ConfigError
from marco.evaluation.history import Evaluation, before
from marco.evaluation.rows import better, measured
from marco.evaluation.scalars import series
from marco.languages import canonical, get
from marco.mixing.raised import Raise
from marco.tracking.alerts import alert
from marco.training.context import MixChanged
from marco.training.module import MarcoModule

log = logging.getLogger(__name__)

Action = Literal["alert", "stop", "replay", "lower_lr"]


class Retention(pl.Callback):  # type: ignore[misc]
    """Compares the anchor languages of every evaluation with the evaluation at step 0.

    One that has got worse by more than the budget is a breach, which is always said, logged as
    ``retention/<language>``, and, by choice,

    - ``alert``: no more than that;
    - ``stop``: ends the run, with a checkpoint and its summary;
    - ``replay``: from the next step on more of the tokens go to the languages in breach, which
      takes a checkpoint and reads the data anew;
    - ``lower_lr``: the learning rate is multiplied from the next step on.

    What it does follows from the evaluations alone, and is in the checkpoint: a resumed run does
    the same.

    Args:
        anchors: the languages; those that are not evaluated are not watched.
        metric: what they are measured by, as it is logged (``bits_per_byte``, ``belebele``).
        budget: the relative change for the worse that is allowed; 0.01 is one per cent.
        action: what a breach leads to.
        replay_share: of all tokens, given in addition at each breach.
        most_replay: of all tokens, that the anchors may come to by it.
        lr_factor: what the learning rate is multiplied by at each breach.
    """

    def __init__(
        self,
        anchors: Sequence[str] = ("eng", "cmn"),
        metric: str = "bits_per_byte",
        budget: float = 0.01,
        action: Action = "alert",
        replay_share: float = 0.05,
        most_replay: float = 0.5,
        lr_factor: float = 0.5,
    ) -> None:
        where = "callbacks.retention"
        if not anchors:
            raise ConfigError(f"{where}.anchors is empty: name languages, such as [eng].")
        if budget < 0:
            raise ConfigError(f"{where}.budget={budget} is negative.")
        for key, value in (("replay_share", replay_share), ("most_replay", most_replay)):
            if not 0 < value < 1:
                raise ConfigError(f"{where}.{key}={value} is a share of the tokens: 0 to 1.")
        if not 0 < lr_factor < 1:
            raise ConfigError(f"{where}.lr_factor={lr_factor} should be between 0 and 1.")
        self.anchors = canonical(list(anchors))
        self.metric = metric
        self.budget = budget
        self.action = action
        self.replay_share = replay_share
        self.most_replay = most_replay
        self.lr_factor = lr_factor
        self.breaches: list[dict[str, Any]] = []
        self._judged = 0  # tokens at the last evaluation that was looked at
        self._lr_scale = 1.0

    def state_dict(self) -> dict[str, Any]:
        """What was judged and what followed."""
        return {"judged": self._judged, "breaches": self.breaches, "lr_scale": self._lr_scale}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up."""
        self._judged = state_dict["judged"]
        self.breaches = list(state_dict["breaches"])
        self._lr_scale = state_dict["lr_scale"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what is watched; judge what was evaluated just before the checkpoint."""
        assert isinstance(pl_module, MarcoModule)
        pl_module.lr_scale = self._lr_scale
        first = before(self._history(trainer))
        if first is None:
            raise ConfigError(
                "callbacks.retention compares with step 0, which nothing was measured at: "
                "evaluation.at_start=true."
            )
        watched = self._values(first)
        if not watched:
            found = ", ".join(series(first.rows)) or "nothing"
            raise ConfigError(
                f"callbacks.retention: {self.metric} was measured of none of the anchors "
                f"{', '.join(self.anchors)} (measured: {found})."
            )
        if self.action == "replay":
            lacking = [code for code in watched if not self._sources(pl_module, code)]
            if lacking:
                raise ConfigError(
                    f"callbacks.retention.action=replay needs training text of "
                    f"{', '.join(lacking)}: add it to data.languages (its share may be 0)."
                )
        names = ", ".join(get(code).name for code in watched)
        log.info("Retention: %s by %s, budget %.3g %%.", names, self.metric, 100 * self.budget)
        self._judge(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Judge an evaluation as soon as it is there."""
        assert isinstance(pl_module, MarcoModule)
        if pl_module.at_boundary:
            self._judge(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge the last evaluation: there is nothing left to do about it but to say so."""
        assert isinstance(pl_module, MarcoModule)
        self._judge(trainer, pl_module, act=False)

    def _judge(self, trainer: pl.Trainer, module: MarcoModule, act: bool = True) -> None:
        history = self._history(trainer)
        first = before(history)
        if first is None or history[-1].tokens <= self._judged:
            return
        last = history[-1]
        self._judged = last.tokens
        now, then = self._values(last), self._values(first)
        sign = -1 if self._higher_is_better(first) else 1
        worse = {
            code: sign * (now[code] - then[code]) / abs(then[code])
            for code in then
            if code in now and then[code]
        }
        metrics = {f"retention/{code}": change for code, change in worse.items()}
        for logger in trainer.loggers:
            logger.log_metrics({"tokens": last.tokens, **metrics}, step=last.step)
        broken = {code: change for code, change in worse.items() if change > self.budget}
        if not broken:
            return
        self.breaches.append({"tokens": last.tokens, "regression": broken})
        text = ", ".join(f"{get(code).name} by {100 * x:.2f} %" for code, x in broken.items())
        message = (
            f"After {last.tokens:,} tokens {self.metric} is worse than at step 0: {text} "
            f"(budget {100 * self.budget:.3g} %)."
        )
        log.warning("Retention: %s", message)
        alert(trainer.loggers, "Retention breach", message)
        if act and not module.finished:
            self._act(trainer, module, list(broken))

    def _act(self, trainer: pl.Trainer, module: MarcoModule, broken: Sequence[str]) -> None:
        if self.action == "stop":
            log.warning("Retention: the run ends here, after step %d.", module.step)
            trainer.should_stop = True
            self._checkpoint(trainer, module)
        elif self.action == "lower_lr":
            self._lr_scale *= self.lr_factor
            module.lr_scale = self._lr_scale
            log.warning("Retention: the learning rate is now %.3g × the plan's.", self._lr_scale)
        elif self.action == "replay":
            self._raise_replay(trainer, module, broken)

    def _raise_replay(
        self, trainer: pl.Trainer, module: MarcoModule, broken: Sequence[str]
    ) -> None:
        given = sum(change.share for change in module.context.mix_changes)
        share = min(self.replay_share, self.most_replay - given)
        if share <= 0:
            log.warning("Retention: replay is at most_replay=%g already.", self.most_replay)
            return
        sources = tuple(name for code in broken for name in self._sources(module, code))
        module.context.mix_changes.append(Raise(module.tokens_seen, sources, share))
        log.warning(
            "Retention: from here on %.3g %% more of the tokens go to %s.",
            100 * share,
            ", ".join(sources),
        )
        self._checkpoint(trainer, module)
        raise MixChanged

    def _higher_is_better(self, evaluation: Evaluation) -> bool:
        return better(series(evaluation.rows)[self.metric][1]) == "higher"

    def _values(self, evaluation: Evaluation) -> dict[str, float]:
        found = series(evaluation.rows).get(self.metric)
        if found is None:
            return {}
        task, metric = found
        values = measured(evaluation.rows, metric, task)
        return {code: values[code] for code in self.anchors if code in values}

    @staticmethod
    def _sources(module: MarcoModule, language: str) -> list[str]:
        return [name for name, code in module.source_languages.items() if code == language]

    @staticmethod
    def _history(trainer: pl.Trainer) -> list[Evaluation]:
        return next((c.history for c in trainer.callbacks if isinstance(c, EvalSweep)), [])

    @staticmethod
    def _checkpoint(trainer: pl.Trainer, module: MarcoModule) -> None:
        for callback in trainer.callbacks:
            if isinstance(callback, Checkpoint):
                callback.save(trainer, module)
