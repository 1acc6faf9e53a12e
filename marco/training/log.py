"""Logging of a run: log.txt with times, and the console above the progress bar."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

from marco.tracking.console import console
from marco.training.checkpoint import CheckpointWarning


class ConsoleHandler(logging.Handler):
    """Prints records through the shared console, so that they land above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; warnings in yellow, errors on stderr."""
        if record.levelno >= logging.ERROR:
            print(self.format(record), file=sys.stderr)
            return
        style = "yellow" if record.levelno >= logging.WARNING else None
        console().print(self.format(record), style=style, markup=False, soft_wrap=True)


def set_up_logging(folder: Path, rank: int) -> None:
    """Log to `folder/log.txt` and the console on process 0; only errors elsewhere."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    logging.captureWarnings(True)
    warnings.formatwarning = _plain
    root.setLevel(logging.INFO if rank == 0 else logging.ERROR)
    handlers: list[logging.Handler] = [ConsoleHandler()]
    if rank == 0:
        try:
            written = logging.FileHandler(folder / "log.txt", encoding="utf-8")
            written.setFormatter(
                logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
            )
            handlers.append(written)
        except OSError as error:
            print(f"No log file: {error}", file=sys.stderr)
    for handler in handlers:
        root.addHandler(handler)
    for noisy in ("pytorch_lightning", "lightning_fabric", "transformers", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _plain(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning without its line of source; where a library's comes from, for who looks it up."""
    own = issubclass(category, CheckpointWarning)
    return str(message) if own else f"{filename}:{lineno}: {category.__name__}: {message}"
