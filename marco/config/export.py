"""The root of `marco export` (``conf/export.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from marco.errors import ConfigError
from marco.languages import canonical


@dataclass(frozen=True)
class ExportSettings:
    """What is exported, and where to; see ``conf/export.yaml`` for each key."""

    run: str
    checkpoint: int | str | None
    weights: Literal["trained", "ema"]
    output: Path | None
    dtype: Literal["float32", "bfloat16", "float16"] | None
    max_shard_size: str
    scores: Path | None
    anchors: list[str]
    push_to_hub: str | None
    private: bool

    def __post_init__(self) -> None:
        canonical(self.anchors)
        if self.push_to_hub is not None and self.push_to_hub.count("/") != 1:
            raise ConfigError(f"push_to_hub={self.push_to_hub} should be <owner>/<name>.")
