"""Which way the metrics of a run improve, for every logger that shows the best of a curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, runtime_checkable

Direction = Literal["lower", "higher"]


@runtime_checkable
class DirectedLogger(Protocol):
    """A logger that makes use of directions."""

    def set_directions(self, directions: Mapping[str, Direction]) -> None:
        """Take ``{metric: direction}``, before the metrics are logged first."""


def set_directions(loggers: Iterable[object], directions: Mapping[str, Direction]) -> None:
    """Tell those of ``loggers`` (``trainer.loggers``) which way each metric improves."""
    for logger in loggers:
        if isinstance(logger, DirectedLogger):
            logger.set_directions(directions)
