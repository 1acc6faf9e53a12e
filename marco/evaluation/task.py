"""What a task of the sweep is: prepared once, then run on the model as often as asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from marco.evaluation.items import Item
from marco.evaluation.rows import Row

if TYPE_CHECKING:
    from marco.evaluation.scoring import Nats


class Scorer(Protocol):
    """The model, as a task sees it: token ids in, nats of every scored token out."""

    def documents(self, documents: Sequence[Sequence[int]]) -> list[Nats]:
        """Score whole documents (token ids without the end-of-text token)."""
        ...

    def continuations(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Nats]:
        """Score the second part of each pair, given the first."""
        ...

    @property
    def lm(self) -> Any:
        """The model in lm-eval's interface."""
        ...

    @property
    def progress(self) -> Callable[[int, int], None] | None:
        """Called with what is done and what there is in all."""
        ...


class Task(Protocol):
    """One task over all the languages of a sweep."""

    @property
    def name(self) -> str:
        """The task's name in rows and messages."""
        ...

    @property
    def metric(self) -> str:
        """The metric that is reported missing for every language when the task fails."""
        ...

    @property
    def languages(self) -> dict[str, str]:
        """The languages the task was prepared for, and the group of each."""
        ...

    @property
    def items(self) -> Sequence[Item]:
        """The items of the last run."""
        ...

    def run(self, scorer: Scorer) -> list[Row]:
        """Measure; a language that cannot be measured has a row that says why."""
        ...


def missing(task: str, language: str, group: str, metrics: Sequence[str], reason: str) -> list[Row]:
    """Return the rows of a language without a measurement: absent is not zero."""
    return [Row(task, language, group, metric, None, 0, reason=reason) for metric in metrics]
