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
    model: Any
    evaluation: Any
    data: Any
    """What the held-out text is of; None: the run's, or UDHR."""
    kernels: Any
    logger: Any

    def __post_init__(self) -> None:
        if not self.output.strip():
            raise ConfigError("output should be a folder.")
        if not self.evaluation.measures:
            raise ConfigError(
                "This evaluation measures nothing: choose another, evaluation=…, or set "
                "evaluation.likelihood, evaluation.lexicon or evaluation.tasks."
            )
