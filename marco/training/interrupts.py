"""Ctrl-C and SIGTERM end a run at the next optimizer step, with a checkpoint."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist

from marco.training.relay import SIGNALS

SAME = 2.0  # seconds


class Interrupt:
    """Remembers that the user, or the cluster, asked to stop.

    The first signal is kept for the next step boundary; a second one ends the process at once.
    One that follows within `SAME` seconds is the first again: a terminal sends Ctrl-C to every
    process of a run, and the launcher hands it on. `number` is the signal received, or 0.
    """

    def __init__(self) -> None:
        self.number = 0
        self._received = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Take both signals over. Lightning's own handlers must be there already: the one for
        SIGTERM calls a collective from inside the handler, where another may be under way.
        """
        for number in SIGNALS:
            before = signal.signal(number, self._receive)
            if before != self._receive:
                self._before[number] = before

    def restore(self) -> None:
        """Give both signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def agreed(self, device: torch.device) -> int:
        """The signal that any process received, or 0; the same on every process (a collective)."""
        if not (dist.is_initialized() and dist.get_world_size() > 1):
            return self.number
        flag = torch.tensor(self.number, device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        agreed = int(flag)
        if agreed:  # else a signal that came during the collective would be forgotten
            self.number = agreed
        return agreed

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process ended by this signal."""
        return 128 + self.number

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number and now - self._received > SAME:
            raise SystemExit(128 + number)
        self.number = number
        self._received = now


class InterruptHandlers(pl.Callback):  # type: ignore[misc]
    """Listens to the signals from the start of training to its end; first in the list."""

    def __init__(self, interrupt: Interrupt) -> None:
        self.interrupt = interrupt

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over, now that Lightning has put its handlers in place."""
        self.interrupt.install()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Stop at the end of a step, whether or not there is a callback that saves it."""
        if pl_module.at_boundary and self.interrupt.agreed(pl_module.device):
            trainer.should_stop = True

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give them back."""
        self.interrupt.restore()
