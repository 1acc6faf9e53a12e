"""Alerts: what somebody wants to know at once, for every logger that can tell them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, runtime_checkable

Level = Literal["info", "warn", "error"]


@runtime_checkable
class AlertLogger(Protocol):
    """A logger that tells people something. It never raises."""

    def alert(self, title: str, text: str, level: Level = "warn") -> None:
        """Send an alert: ``title`` in a few words (64 characters), ``text`` with the numbers."""


def alert(loggers: Iterable[object], title: str, text: str, level: Level = "warn") -> None:
    """Send an alert through those of ``loggers`` (``trainer.loggers``) that can.

    W&B mails or posts it, as the user set it up there; ``alerts.jsonl`` in the run folder has all
    of them. It is no line of the log: who alerts also logs.
    """
    for logger in loggers:
        if isinstance(logger, AlertLogger):
            logger.alert(title, text, level)
