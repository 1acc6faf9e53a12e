"""What a run starts from: `model=pretrained`, with a model of transformers or a run of marco's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from marco.config.saved import CONFIG
from marco.models import PretrainedModel

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from marco.training.loading import ModelChoice


@dataclass(frozen=True)
class StartingModel(PretrainedModel):
    """As `PretrainedModel`, whose `path` may also be a run's folder, or one of its checkpoints.

    Attributes:
        checkpoint: which of a run's: its step, `last` (null: the newest that is sound) or `best`.
    """

    checkpoint: int | str | None = None

    def check(self) -> None:
        """See `PretrainedModel`. Raises CheckpointError for a run without that checkpoint."""
        if self._is_run():
            self._choice().check()
        else:
            super().check()

    def vocabulary_rows(self) -> int | None:
        """See `PretrainedModel`."""
        if self.grow or not self._is_run():
            return super().vocabulary_rows()
        rows: int = self.config().vocab_size
        return rows

    def config(self) -> PreTrainedConfig:
        """See `PretrainedModel`."""
        from marco.training.loading import run_config

        place = self._choice().place() if self._is_run() else None
        return super().config() if place is None else run_config(place[0])

    def pretrained(self) -> PreTrainedModel:
        """See `PretrainedModel`; of a run the weights alone are read, in fp32."""
        from marco.training.loading import run_network

        place = self._choice().place() if self._is_run() else None
        return super().pretrained() if place is None else run_network(*place)

    def _is_run(self) -> bool:
        folder = Path(self.path).expanduser()
        named = self.checkpoint is not None  # of something else: `ModelChoice` says what is wrong
        return named or (folder / CONFIG).is_file() or (folder / "manifest.json").is_file()

    def _choice(self) -> ModelChoice:
        from marco.training.loading import ModelChoice

        return ModelChoice(self.path, self.checkpoint)
