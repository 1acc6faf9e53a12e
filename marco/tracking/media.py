"""Tables and images, for every logger that takes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pandas as pd


@runtime_checkable
class MediaLogger(Protocol):
    """A logger that shows more than scalars."""

    def log_table(self, key: str, frame: pd.DataFrame, *, step: int, tokens: int) -> None:
        """Show ``frame`` under ``key``."""

    def log_image(self, key: str, path: Path, *, step: int, tokens: int) -> None:
        """Show the image file ``path`` under ``key``."""


def log_table(
    loggers: Iterable[object], key: str, frame: pd.DataFrame, *, step: int, tokens: int
) -> None:
    """Hand a table to those of ``loggers`` (``trainer.loggers``) that take one."""
    for logger in loggers:
        if isinstance(logger, MediaLogger):
            logger.log_table(key, frame, step=step, tokens=tokens)


def log_image(loggers: Iterable[object], key: str, path: Path, *, step: int, tokens: int) -> None:
    """Hand an image file (PNG, JPEG) to those of ``loggers`` that take one."""
    for logger in loggers:
        if isinstance(logger, MediaLogger):
            logger.log_image(key, path, step=step, tokens=tokens)
