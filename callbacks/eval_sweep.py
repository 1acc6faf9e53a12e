"""Evaluates every language before, during and after training, and says so everywhere."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from marco.evaluation.heatmap_plot import heatmap
from marco.evaluation.history import Evaluation, from_records, to_frame, to_records, write_history
from marco.evaluation.results.folder import write_evaluation
from marco.evaluation.results.table import Measured
from marco.evaluation.scalars import directions, line, scalars
from marco.evaluation.scoring import Shard
from marco.evaluation.sweep import EvaluationSweep, Trained
from marco.tracking.directions import set_directions
from marco.tracking.media import MediaLogger, log_image, log_table
from marco.tracking.pauses import EvaluationBar, training_paused

log = logging.getLogger(__name__)

HEATMAP = Path("plots/heatmap.png")
#: A folder for each evaluation: its table, its items, its aggregates.
EVALUATIONS = "evaluations"
#: Seconds between two updates of the progress line.
UPDATE = 0.25


class EvalSweep(pl.Callback):  # type: ignore[misc]
    """Runs the evaluation sweep at step 0, every so many tokens, and at the end.

    What is evaluated and when is in ``conf/evaluation``; ``attach`` brings it. Each evaluation is
    logged as scalars (``eval/<metric>/<language>``, ``…/macro``, ``…/group/<group>``, with the
    tokens), added to ``evaluations.jsonl`` in the run's folder, written with its items and
    aggregates into ``evaluations/step-…``, summed up in one line of the log and, for loggers that
    take them, shown as a table of all evaluations so far and a heat map. The evaluations made are
    in the checkpoint, so a resumed run neither repeats nor misses one.

    Args:
        table: give loggers the table language × metric × step.
        heatmap: give loggers the heat map language × evaluation as an image.
    """

    def __init__(self, table: bool = True, heatmap: bool = True) -> None:
        self.table = table
        self.heatmap = heatmap
        self.history: list[Evaluation] = []
        self._sweep: EvaluationSweep | None = None
        self._folder: Path | None = None
        self._due: int | None = None  # the tokens at which to evaluate next, once one is behind

    def attach(self, sweep: EvaluationSweep | None, folder: Path) -> None:
        """Give the callback its sweep (None: evaluate nothing) and the run's folder."""
        self._sweep = sweep
        self._folder = folder

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: the tokens due next and the rows measured."""
        return {"due": self._due, "records": to_records(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up ``state_dict``'s evaluations."""
        self._due = state_dict["due"]
        self.history = from_records(state_dict["records"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: Trained) -> None:
        """Evaluate the untrained model, or what was due when the checkpoint was written."""
        if self._sweep is None:
            return
        if trainer.is_global_zero and self._folder is not None and self.history:
            # drops what a killed run measured after the checkpoint: it will be measured again
            self._write(self._folder, draw=False)
        if pl_module.tokens_seen == 0:
            if self._sweep.settings.at_start and not self.history:
                self.evaluate(trainer, pl_module)
        elif self._is_due(pl_module.tokens_seen):
            self.evaluate(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Trained, *args: Any) -> None:
        """Evaluate when the step that just ended crossed the next multiple of every_tokens."""
        if pl_module.at_boundary and self._is_due(pl_module.tokens_seen):
            self.evaluate(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Trained) -> None:
        """Evaluate the trained model, unless this step has just been evaluated.

        A run that was stopped before its budget is spent (by a signal, say) has no end yet: its
        resumed part will evaluate it.
        """
        if self._sweep is None or not self._sweep.settings.at_end:
            return
        if pl_module.tokens_seen < pl_module.total_tokens:
            return
        if not self.history or self.history[-1].tokens < pl_module.tokens_seen:
            self.evaluate(trainer, pl_module)

    def evaluate(self, trainer: pl.Trainer, pl_module: Trained) -> Evaluation | None:
        """Run the sweep now and log it everywhere; None when nothing is evaluated."""
        if self._sweep is None:
            return None
        start = time.perf_counter()
        with (
            training_paused(trainer.callbacks, "evaluating"),
            trainer.precision_plugin.val_step_context(),
        ):
            try:
                rows = self._sweep.run(
                    pl_module.model, shard=shard_of(trainer), progress=_Progress(trainer, pl_module)
                )
            except _Stopped:
                log.info("The evaluation was stopped; a resumed run makes it again.")
                return None
            evaluation = Evaluation(pl_module.step, pl_module.tokens_seen, tuple(rows))
            self.history.append(evaluation)
            every = self._sweep.settings.every_tokens
            if every is not None:
                self._due = (evaluation.tokens // every + 1) * every
            if trainer.is_global_zero:
                self._keep(evaluation)
                self._publish(trainer, evaluation, time.perf_counter() - start)
        return evaluation

    def _is_due(self, tokens: int) -> bool:
        if self._sweep is None or self._sweep.settings.every_tokens is None:
            return False
        return tokens >= (self._due or self._sweep.settings.every_tokens)

    def _publish(self, trainer: pl.Trainer, evaluation: Evaluation, seconds: float) -> None:
        metrics = {"tokens": evaluation.tokens, **scalars(evaluation), "eval/seconds": seconds}
        set_directions(trainer.loggers, directions(evaluation))
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=evaluation.step)
        log.info("%s", line(evaluation, seconds))
        loggers = [logger for logger in trainer.loggers if isinstance(logger, MediaLogger)]
        draw = bool(loggers) and self.heatmap
        drawn = self._folder is not None and self._write(self._folder, draw)
        at = {"step": evaluation.step, "tokens": evaluation.tokens}
        if loggers and self.table:
            log_table(loggers, "eval/table", to_frame(self.history), **at)
        if drawn and self._folder is not None:
            log_image(loggers, "eval/heatmap", self._folder / HEATMAP, **at)

    def _keep(self, evaluation: Evaluation) -> None:
        """Write the evaluation's own folder, with its items, beside the history of all."""
        if self._folder is None or self._sweep is None:
            return
        checkpoint = f"step-{evaluation.step:08d}"
        run = f"{self._folder.parent.name}/{self._folder.name}"
        of = Measured(run, checkpoint, evaluation.tokens)
        place = self._folder / EVALUATIONS / checkpoint
        try:
            write_evaluation(place, evaluation.rows, self._sweep.items, of)
        except OSError as error:
            log.warning("Cannot write the evaluation into %s: %s", place, error)

    def _write(self, folder: Path, draw: bool) -> bool:
        """Bring the run folder's files up to date; returns whether the heat map was drawn.

        A full disk costs these files for now and not the run: the rows are in the checkpoint too,
        and the next evaluation writes all of them again.
        """
        try:
            write_history(folder, self.history)
            return draw and heatmap(folder / HEATMAP, self.history)
        except OSError as error:
            log.warning("Cannot write the evaluations into %s: %s", folder, error)
            return False


class _Stopped(BaseException):
    """Somebody asked the run to stop; not an Exception, which a failed task would be."""


class _Progress:
    """Tells the progress bar which task is being evaluated and how far that is.

    Stops an evaluation under way when the run is to stop, but for the one before the first step,
    which nothing could make up for; several processes, which score in step, finish it.
    """

    def __init__(self, trainer: pl.Trainer, module: Trained) -> None:
        self._module = module
        self._may_stop = trainer.world_size == 1 and module.tokens_seen > 0
        self._bars = [c for c in trainer.callbacks if isinstance(c, EvaluationBar)]
        self._shown = 0.0

    def __call__(self, task: str, done: int, total: int) -> None:
        if self._may_stop and self._module.interrupted:
            raise _Stopped
        now = time.perf_counter()
        if now - self._shown >= UPDATE:
            self._shown = now
            for bar in self._bars:
                bar.evaluation_progress(task, done, total)


def shard_of(trainer: pl.Trainer) -> Shard:
    """Return this process's share of what the data-parallel ranks do together."""
    ranks = trainer.distributed_sampler_kwargs
    return Shard() if ranks is None else Shard(ranks["rank"], ranks["num_replicas"])
