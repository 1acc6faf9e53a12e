"""A task set of the config as one task of the sweep: many of lm-eval's tasks under one name."""

from __future__ import annotations

import functools
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marco.evaluation.generations.identifier import Identifier
from marco.evaluation.generations.measure import measure
from marco.evaluation.harness.answer import answer
from marco.evaluation.harness.prepared import PreparedTask, quiet, requests_of
from marco.evaluation.harness.rows import Outcome, reason_of, task_rows
from marco.evaluation.harness.score import score
from marco.evaluation.items import Item
from marco.evaluation.rows import FAILED, Row
from marco.evaluation.suite.build import build
from marco.evaluation.suite.places import Place, folders, places
from marco.evaluation.suite.task_set import TaskSet
from marco.evaluation.task import Scorer
from marco.languages import get

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """What every family is prepared with.

    Attributes:
        languages: those measured; None: all that the tasks have.
        items: documents a language, over all its tasks of a family; None: all.
        data_dir: where hub datasets lie as files; None: the hub.
        include_path: a folder of the user's own tasks.
        chat_template: renders messages, for chat models.
        tokenizer_name: names that template.
    """

    languages: Collection[str] | None = None
    items: int | None = None
    data_dir: Path | None = None
    include_path: Path | None = None
    chat_template: Callable[..., str] | None = None
    tokenizer_name: str = ""


class Family:
    """The task: lm-eval's tasks of one set, prepared once.

    ``tasks`` are lm-eval's, prepared; ``items`` are those of the last run.
    """

    def __init__(
        self, name: str, tasks: Sequence[PreparedTask], minutes_per_task: float | None = None
    ) -> None:
        self.name = name
        self.items: list[Item] = []
        self.tasks = tasks
        self._minutes = minutes_per_task
        self.languages = {task.language: get(task.language).group for task in tasks}

    @property
    def metric(self) -> str:
        """The metric reported missing when everything fails."""
        named = [task.metrics[0] for task in self.tasks if task.metrics]
        return named[0] if named else FAILED

    def run(self, scorer: Scorer) -> list[Row]:
        """Answer and score every task; one that fails is reported so, and the others go on."""
        outcomes: list[tuple[PreparedTask, Outcome]] = []
        self.items = []
        for task, responses in answer(scorer.lm, self.tasks, self._minutes, scorer.progress):
            outcome: Outcome
            if isinstance(responses, Exception):
                outcome = responses
            else:
                try:
                    outcome = score(task, responses)
                    self.items += outcome.items
                except Exception as error:  # a task's own code may raise anything
                    outcome = error
            if isinstance(outcome, Exception) and task.failure is None:  # else it was said before
                log.warning("The task %s failed: %s", task.name, reason_of(outcome))
            outcomes.append((task, outcome))
        rows, self.items = measure(self.name, self.items, self._identifier)
        return [*task_rows(outcomes), *rows]

    @functools.cached_property
    def _identifier(self) -> Identifier | None:
        """Made once, where a task generates text."""
        generates = any(
            request.request_type == "generate_until"
            for task in self.tasks
            for request in task.requests[:1]
        )
        return Identifier(list(self.languages)) if generates else None


def _chosen(place: Place, languages: Collection[str] | None) -> bool:
    """Whether a task's language is measured; into it from a language that is, or from English."""
    if languages is None:
        return True
    return place.language in languages and place.source in (None, "eng", *languages)


def prepare_family(
    name: str,
    task_set: TaskSet,
    how: Preparation,
    minutes_per_task: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Family:
    """Load the data of a set's tasks and build their requests.

    A task that cannot be prepared (its data is not there, say) is reported as failed when the
    family runs.

    Raises:
        ConfigError: a name that no task has.
    """
    found = places(name, task_set, how.include_path)
    chosen = [place for place in found if _chosen(place, how.languages)]
    if not chosen:
        log.warning(
            "evaluation.tasks.%s measures %s, and none of these languages is evaluated: "
            "evaluation.languages=[all] takes those that the tasks have.",
            name,
            ", ".join(sorted({place.language for place in found})),
        )
    parts = Counter(place.language for place in chosen)
    tasks = []
    for done, place in enumerate(chosen):
        if progress is not None:
            progress(name, done, len(chosen))
        limit = task_set.items or how.items
        limit = None if limit is None else math.ceil(limit / parts[place.language])
        task: Any = None
        requests: tuple[Any, ...] = ()
        failure: Exception | None = None
        try:
            own = folders(how.include_path)
            with quiet():
                task = build(place.leaf, task_set, data_dir=how.data_dir, include_path=own)
            requests = requests_of(task, limit, how.chat_template, how.tokenizer_name)
        except Exception as error:  # a task's own code, the hub, a file
            failure = error
            log.warning("The task %s cannot be prepared: %s", place.leaf, reason_of(error))
        metrics = None if task_set.metrics is None else tuple(task_set.metrics)
        language, source = place.language, place.source
        tasks.append(
            PreparedTask(place.leaf, name, language, source, metrics, task, requests, failure)
        )
    return Family(name, tasks, minutes_per_task)
