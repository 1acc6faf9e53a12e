"""Seconds spent training: a stopwatch that can be held."""

from __future__ import annotations

import time
from collections.abc import Callable


class TrainingClock:
    """Accumulates seconds between ``start`` and ``stop``; both may be repeated without harm."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._before = 0.0
        self._started: float | None = None

    @property
    def running(self) -> bool:
        """Whether time is being counted."""
        return self._started is not None

    @property
    def seconds(self) -> float:
        """Seconds counted so far, the current stretch included."""
        return self._before + (0.0 if self._started is None else self._now() - self._started)

    def start(self) -> None:
        """Start or go on counting."""
        if self._started is None:
            self._started = self._now()

    def stop(self) -> None:
        """Hold the clock."""
        self._before = self.seconds
        self._started = None

    def restore(self, seconds: float) -> None:
        """Set what was counted before a resume; the clock keeps its running state."""
        self._before = seconds
        if self._started is not None:
            self._started = self._now()
