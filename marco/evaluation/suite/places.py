"""The tasks of a task set, each with the language that it measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marco.errors import ConfigError, nearest
from marco.evaluation.suite.index import configs_of
from marco.evaluation.suite.languages import task_languages
from marco.evaluation.suite.task_set import TaskSet
from marco.evaluation.suite.tasks import resolve
from marco.languages import get


@dataclass(frozen=True)
class Place:
    """Where a task's scores belong.

    Attributes:
        leaf: the task's name.
        language: canonical code; of a translation, of the target.
        source: of a translation, the language translated from.
    """

    leaf: str
    language: str
    source: str | None


def places(name: str, task_set: TaskSet, include_path: Path | None = None) -> list[Place]:
    """Return every task that ``evaluation.tasks.<name>`` stands for. Builds none.

    Raises:
        ConfigError: a name or a metric that no task has, or a task whose language nothing says.
    """
    own = folders(include_path)
    found = []
    for leaf in resolve(name, task_set, own):
        config = configs_of(leaf, own)
        _check_metrics(name, leaf, task_set, config)
        said = task_languages(leaf, config)
        language = get(task_set.language).code if task_set.language else said.language
        if language is None:
            raise ConfigError(
                f"evaluation.tasks.{name}: nothing says which language the task {leaf} is in; "
                f"say evaluation.tasks.{name}.language=…"
            )
        found.append(Place(leaf, language, said.source))
    return found


def _check_metrics(name: str, leaf: str, task_set: TaskSet, config: Mapping[str, Any]) -> None:
    """Check what a task's YAML can tell; what is written in Python is checked once it is built."""
    listed = config.get("metric_list")
    if not isinstance(listed, list):
        return
    has = [str(entry.get("metric")) for entry in listed if isinstance(entry, Mapping)]
    if any("/" in metric for metric in has):  # a function, by its path
        return
    for metric in task_set.metrics or []:
        if metric.partition(",")[0] not in has:  # behind it, of which filter
            raise ConfigError(
                f"evaluation.tasks.{name}.metrics: {leaf} has no metric '{metric}'."
                f"{nearest(metric, has)} It has: {', '.join(has)}."
            )


def folders(include_path: Path | None) -> tuple[str, ...]:
    """Return the user's folder of tasks as the suite takes it."""
    return () if include_path is None else (str(include_path.expanduser().absolute()),)
