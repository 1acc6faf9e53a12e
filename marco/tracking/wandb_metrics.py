"""The x axis and the summary of everything a W&B run logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from marco.tracking.directions import Direction

STEP_METRIC = "tokens"
BEST = {"lower": "min", "higher": "max"}


class Definitions:
    """Defines metrics before they are logged first: tokens are the x axis of all.

    One pattern a namespace (``train/*``), whatever it is, and by its exact name each metric of a
    known direction: its summary has the best value (``….min`` or ``….max``) beside the last. Exact
    names, because of two patterns that fit a metric W&B takes either.
    """

    def __init__(self) -> None:
        self._directions: dict[str, Direction] = {}
        self._defined: set[str] = {STEP_METRIC}

    def set_directions(self, directions: Mapping[str, Direction]) -> None:
        """Take up which way metrics improve."""
        self._directions.update(directions)

    def define(self, run: Any, keys: Iterable[str]) -> None:
        """Define what of ``keys`` is new to this ``wandb.Run``."""
        for key in keys:
            namespace, slash, _ = key.partition("/")
            pattern = f"{namespace}/*" if slash else key
            if pattern not in self._defined:
                self._defined.add(pattern)
                run.define_metric(pattern, step_metric=STEP_METRIC)
            direction = self._directions.get(key)
            if direction is not None and key not in self._defined:
                self._defined.add(key)
                best = f"{BEST[direction]},last"
                run.define_metric(key, step_metric=STEP_METRIC, summary=best)
