"""Time in a run that is not training: evaluation, checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Pausable(Protocol):
    """A callback that wants to know when training is held."""

    def pause_training(self, reason: str) -> None:
        """Training is held for ``reason`` (a word for the user: "evaluating")."""

    def resume_training(self) -> None:
        """Training goes on."""


@runtime_checkable
class EvaluationBar(Protocol):
    """A callback that shows how far an evaluation is."""

    def evaluation_progress(self, task: str, done: int, total: int) -> None:
        """So much of all there is to score of a task has been scored."""


@contextmanager
def training_paused(callbacks: Iterable[object], reason: str) -> Iterator[None]:
    """Hold the clocks of all pausable ``callbacks`` (``trainer.callbacks``) inside the block.

    Evaluation and checkpoints use it, so that tokens per second and MFU describe training alone
    and the progress bar says what is going on.
    """
    pausable = [callback for callback in callbacks if isinstance(callback, Pausable)]
    for callback in pausable:
        callback.pause_training(reason)
    try:
        yield
    finally:
        for callback in pausable:
            callback.resume_training()
