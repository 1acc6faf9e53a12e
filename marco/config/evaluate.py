"""The root of `marco evaluate` (``conf/evaluate.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from marco.errors import ConfigError


@dataclass(frozen=True)
class EvaluateSettings:
    """One evaluation of one model, checked. Groups hold their settings objects."""

    OPTIONAL: ClassVar = frozenset({"data", "logger"})

    name: str
    """The W&B group of models that are no runs of ours."""
    tags: list[str]
    output: str
    """The folder of all evaluations."""
    devices: int
    """Processes that share the work, each with the whole model."""
    model: Any
    evaluation: Any
    data: Any
    """What the held-out text is of; None: the run's, or UDHR."""
    kernels: Any
    logger: Any

    def __post_init__(self) -> None:
        if not self.output.strip():
            raise ConfigError("output should be a folder.")
        if self.devices < 1:
            raise ConfigError(f"devices={self.devices} must be at least 1.")
        if not self.evaluation.measures:
            raise ConfigError(
                "This evaluation measures nothing: choose another, evaluation=…, or set "
                "evaluation.likelihood, evaluation.lexicon or evaluation.tasks."
            )
