"""Every metric of a run over its evaluations, by language, and what of it changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from marco.evaluation.history import Evaluation
from marco.evaluation.rows import Direction, Row, better
from marco.evaluation.scalars import series
from marco.evaluation.task_table import OF_TEXTS
from marco.languages import GROUPS, all_languages, get

#: Rows of contamination: of the test sets, and no success or failure of the model.
CONTAMINATION = (
    "overlap",
    "overlap_ngrams",
    "option_order_p",
    "option_order_share",
    "option_order_outliers",
)
#: The group of what a mix has and is no language: a source of several.
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Change:
    """One language, or the mean, at the first and the last evaluation.

    ``gain`` is the difference in the direction in which the metric improves: below 0 is worse;
    None where the metric has no such direction.
    """

    language: str | None
    before: float
    after: float
    gain: float | None

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of a task.

    Attributes:
        name: as it is shown and logged.
        tokens: trained on at each evaluation.
        values: of each language at each evaluation; None where there is none.
    """

    name: str
    task: str
    metric: str
    tokens: Sequence[int]
    values: Mapping[str, Sequence[float | None]]

    @property
    def direction(self) -> Direction | None:
        """In which direction it improves."""
        return better(self.metric)

    @property
    def means(self) -> list[float | None]:
        """The mean over languages at each evaluation, each counting once."""
        return [
            _mean([found for line in self.values.values() if (found := line[at]) is not None])
            for at in range(len(self.tokens))
        ]

    def changes(self) -> list[Change]:
        """Of the languages that the first and the last evaluation have; empty if there is but one.

        Largest gain first; of a metric without a direction, in the order of the languages.
        """
        found = [
            change
            for code, line in self.values.items()
            if (change := self._change(code, line)) is not None
        ]
        return sorted(found, key=lambda change: -(change.gain or 0.0))

    def mean_change(self) -> Change | None:
        """Of the mean over languages."""
        return self._change(None, self.means)

    def at(self, places: Sequence[int]) -> Measure:
        """Return only some of the evaluations."""
        lines = {code: [line[at] for at in places] for code, line in self.values.items()}
        tokens = [self.tokens[at] for at in places]
        return Measure(self.name, self.task, self.metric, tokens, lines)

    def _change(self, language: str | None, line: Sequence[float | None]) -> Change | None:
        before, after = line[0], line[-1]
        if len(line) < 2 or before is None or after is None:
            return None
        signs = {"lower": -1.0, "higher": 1.0}
        direction = self.direction
        gain = None if direction is None else signs[direction] * (after - before)
        return Change(language, before, after, gain)


def measures(history: Sequence[Evaluation]) -> list[Measure]:
    """Return everything measured: what tells how good the model is, then how its texts look.

    Contamination and the parts of tasks are not among it. Languages come by resource group.
    """
    rows = [row for evaluation in history for row in evaluation.rows]
    named = {key: name for name, key in series(rows).items()}
    size = len(history)
    found: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    for at, evaluation in enumerate(history):
        for row in evaluation.rows:
            if _counts(row):
                lines = found.setdefault((row.task, row.metric), {})
                lines.setdefault(row.language, [None] * size)[at] = row.value
    tokens = [evaluation.tokens for evaluation in history]
    made = [
        Measure(named[key], *key, tokens, {code: lines[code] for code in in_order(lines)})
        for key, lines in found.items()
    ]
    return sorted(made, key=lambda measure: measure.metric in OF_TEXTS)


def in_order(codes: Iterable[str]) -> list[str]:
    """Return languages by resource group, else in their order; what is none of them comes last."""
    return sorted(codes, key=lambda code: [*GROUPS, OTHER].index(group_of(code)))


def name_of(code: str) -> str:
    """Return a language's name; sources of a mix that are no language are called as they are."""
    return get(code).name if code in _codes() else code


def group_of(code: str) -> str:
    """Return a language's resource group, or `OTHER`."""
    return get(code).group if code in _codes() else OTHER


@lru_cache(maxsize=1)
def _codes() -> frozenset[str]:
    return frozenset(language.code for language in all_languages())


def _counts(row: Row) -> bool:
    return (
        row.value is not None
        and math.isfinite(row.value)
        and row.subtask is None
        and row.metric not in CONTAMINATION
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
