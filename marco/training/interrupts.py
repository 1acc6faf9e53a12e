"""Ctrl-C and SIGTERM end a run at the next optimizer step, with a checkpoint."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Remembers that the user, or the cluster, asked to stop.

    The first signal is kept for the next step boundary; a second one ends the process at once.
    `number` is the signal received, or 0.
    """

    def __init__(self) -> None:
        self.number = 0
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
        self.number = int(flag)
        return self.number

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process ended by this signal."""
        return 128 + self.number

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise SystemExit(128 + number)
        self.number = number
