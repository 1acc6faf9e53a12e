"""What a run is made of and what it leaves, for loggers that keep versions of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ArtifactLogger(Protocol):
    """A logger that knows which data a model came from. It never raises."""

    def log_data(self, fingerprint: str, manifest: Mapping[str, Any]) -> None:
        """Note the data the run uses: what identifies it, and what is known of it as JSON."""

    def log_checkpoint(
        self,
        path: Path,
        aliases: Sequence[str],
        facts: Mapping[str, Any],
        ledger: Mapping[str, Any],
    ) -> None:
        """Keep a checkpoint's folder as a version of the run's model.

        ``facts`` (at most a hundred) are shown beside it; ``ledger`` is what the run was served.
        """

    def log_page(self, key: str, path: Path, *, step: int, tokens: int) -> None:
        """Show an HTML page that needs no other file."""


def artifact_loggers(loggers: Iterable[object]) -> list[ArtifactLogger]:
    """Return those of ``loggers`` that keep data, checkpoints and pages."""
    return [logger for logger in loggers if isinstance(logger, ArtifactLogger)]
