"""The root of `marco judge` (``conf/judge.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from marco.errors import ConfigError


@dataclass(frozen=True)
class JudgeSettings:
    """One comparison of two models' answers, checked. Groups hold their settings objects."""

    OPTIONAL: ClassVar = frozenset({"logger"})

    name: str
    """The W&B group of models that are no runs of ours."""
    tags: list[str]
    output: str
    """The folder of all evaluations."""
    questions: str
    """A JSONL file."""
    languages: list[str] | None
    """Only questions in these; None: in all."""
    items_per_language: int | None
    """The first so many questions of each language; None: all."""
    model: Any
    baseline: Any
    answering: Any
    judge: Any
    kernels: Any
    logger: Any

    def __post_init__(self) -> None:
        """Raise ConfigError, naming the key, for what cannot be."""
        if not self.output.strip():
            raise ConfigError("output should be a folder.")
        if self.items_per_language is not None and self.items_per_language < 1:
            raise ConfigError(
                f"items_per_language={self.items_per_language}: must be at least 1 or null."
            )
        if self.languages == []:
            raise ConfigError("languages=[]: name at least one, or use null for all.")
        for key in ("model", "baseline"):
            side = getattr(self, key)
            if (side.path is None) == (side.answers is None):
                raise ConfigError(
                    f"{key} should be either a model, {key}.path=…, or a file of answers, "
                    f"{key}.answers=…"
                )
