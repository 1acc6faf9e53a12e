"""When a step is a spike: a rule over the losses and gradient norms of the steps before it."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable


class SpikeRule:
    """Loss or gradient norm more than `sigmas` standard deviations above the recent mean.

    The rule of OLMo 2's skipped steps (arXiv 2501.00656, section 3.1): over the last `window`
    ordinary steps. Until `window / 2` of them are there nothing is a spike, and spikes themselves
    never enter the window.
    """

    def __init__(self, window: int, sigmas: float) -> None:
        self.window = window
        self.sigmas = sigmas
        self._losses: deque[float] = deque(maxlen=window)
        self._norms: deque[float] = deque(maxlen=window)

    def is_spike(self, loss: float, norm: float) -> bool:
        """Judge a step, and remember it where it is ordinary."""
        if self._above(loss, self._losses) or self._above(norm, self._norms):
            return True
        self._losses.append(loss)
        self._norms.append(norm)
        return False

    def state_dict(self) -> dict[str, list[float]]:
        """The window, as JSON."""
        return {"losses": list(self._losses), "norms": list(self._norms)}

    def load_state_dict(self, state: dict[str, Iterable[float]]) -> None:
        """Take up a window."""
        self._losses = deque(state["losses"], maxlen=self.window)
        self._norms = deque(state["norms"], maxlen=self.window)

    def _above(self, value: float, recent: deque[float]) -> bool:
        if len(recent) < max(2, self.window // 2):
            return False
        mean, deviation = statistics.fmean(recent), statistics.stdev(recent)
        return value > mean + self.sigmas * deviation
