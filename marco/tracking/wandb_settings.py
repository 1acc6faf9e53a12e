"""The settings of ``logger=wandb``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pytorch_lightning.loggers.logger import Logger

MODES = ("auto", "online", "offline", "disabled")
ARTIFACTS = ("auto", "always", "never")


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases beside the local files.

    Attributes:
        project: the W&B project.
        entity: user or team; None is the key's default.
        group: runs of one experiment share it, and so do the jobs of a sweep.
        job_type: what a run is ("train").
        mode: ``auto`` is online where an API key is found (``WANDB_API_KEY``, netrc, W&B's
            settings file), else offline; ``WANDB_MODE`` decides before that.
        tags: shown and filtered by in W&B.
        name: the run's display name; None is the name of the run folder.
        notes: a longer description.
        init_timeout: seconds to wait for the server before the run goes offline.
        finish_timeout: seconds to wait for the upload at the end.
        artifacts: whether the data (its manifest, not the text) and the checkpoints become W&B
            artifacts; ``auto``: when online.
        upload_gb: a checkpoint of more than this many 10^9 bytes is not uploaded: its artifact
            says where it is.
    """

    project: str
    entity: str | None = None
    group: str | None = None
    job_type: str = "train"
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    tags: list[str] = field(default_factory=list)
    name: str | None = None
    notes: str | None = None
    init_timeout: float = 30.0
    finish_timeout: float = 60.0
    artifacts: Literal["auto", "always", "never"] = "auto"
    upload_gb: float = 1.0

    def __post_init__(self) -> None:
        """Validate.

        Raises:
            ConfigError: naming the key.
        """
        if not self.project or re.search(r"[/\\#?%:]", self.project):
            raise ConfigError(
                f"logger.project={self.project!r}: a W&B project has a name without / \\ # ? % :"
            )
        for key, known in (("mode", MODES), ("artifacts", ARTIFACTS)):
            value = getattr(self, key)
            if value not in known:
                raise ConfigError(
                    f"logger.{key}={value!r} is not one of {', '.join(known)}."
                    f"{nearest(str(value), known)}"
                )
        if not self.upload_gb >= 0:
            raise ConfigError(f"logger.upload_gb={self.upload_gb}: 10^9 bytes, 0 or more")
        for tag in self.tags:
            if not 1 <= len(tag) <= 64:
                raise ConfigError(f"logger.tags: {tag!r} should have 1 to 64 characters (W&B)")
        for key in ("init_timeout", "finish_timeout"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"logger.{key}={getattr(self, key)}: seconds, more than 0")

    def build(
        self,
        folder: Path,
        *,
        config: Mapping[str, Any],
        run_id: str | None = None,
        resumed_step: int | None = None,
    ) -> list[Logger]:
        """Return the run's loggers: the local file and W&B.

        Args:
            folder: the run folder.
            config: the resolved configuration, already without secrets.
            run_id: of the W&B run that is continued (from the checkpoint).
            resumed_step: the step of the checkpoint that the run continues from.
        """
        from marco.tracking.local import LocalLogger
        from marco.tracking.wandb_logger import WandbLogger

        return [
            LocalLogger(folder, resumed_step),
            WandbLogger(self, folder, config=config, run_id=run_id),
        ]
