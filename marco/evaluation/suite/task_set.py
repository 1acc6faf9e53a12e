"""A task set: what a config says of one family of benchmarks. Knows nothing of lm-eval."""

from __future__ import annotations

from dataclasses import dataclass

from marco.errors import ConfigError
from marco.languages import get


@dataclass(frozen=True)
class TaskSet:
    """One entry of ``evaluation.tasks``.

    Attributes:
        names: lm-eval's names of tasks, groups and tags, or patterns (``belebele_*``), which match
            tasks, and groups and tags only where they match no task.
        shots: examples before each item; null leaves what the task says.
        metrics: those that are reported; null means all that the task has.
        split: the split that is scored; null leaves what the task says.
        language: of all these tasks, where they are in none of marco's tables.
        items: documents a language, over all these tasks; null leaves it to
            ``evaluation.items_per_language``.
    """

    names: list[str]
    shots: int | None = None
    metrics: list[str] | None = None
    split: str | None = None
    language: str | None = None
    items: int | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without an index. Raises ConfigError naming the key."""
        for key in ("names", "metrics"):
            value = getattr(self, key)
            if value == [] or (value is not None and not all(value)):
                raise ConfigError(f"evaluation.tasks: {key}={value} should name at least one.")
        if self.shots is not None and self.shots < 0:
            raise ConfigError(f"evaluation.tasks: shots={self.shots} must be at least 0 or null.")
        if self.items is not None and self.items < 1:
            raise ConfigError(f"evaluation.tasks: items={self.items} must be at least 1 or null.")
        if self.split == "":
            raise ConfigError("evaluation.tasks: split='' should name a split or be null.")
        if self.language is not None:
            get(self.language)
