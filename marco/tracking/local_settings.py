"""The settings of ``logger=none``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_lightning.loggers.logger import Logger


@dataclass(frozen=True)
class LocalOnly:
    """Only the files of the run folder."""

    def build(
        self,
        folder: Path,
        *,
        config: Mapping[str, Any],
        run_id: str | None = None,
        resumed_step: int | None = None,
    ) -> list[Logger]:
        """Return the one logger; ``config`` and ``run_id`` are for W&B (see ``Wandb.build``)."""
        from marco.tracking.local import LocalLogger

        return [LocalLogger(folder, resumed_step)]
