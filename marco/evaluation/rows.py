"""The tidy row every measurement becomes, and the averages taken over rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

#: Every metric a row can carry, with the direction in which it improves.
METRICS: dict[str, Literal["lower", "higher"]] = {
    "bits_per_byte": "lower",
    "nats_per_article": "lower",
    "lexicon_accuracy": "higher",
    "lexicon_from_english": "higher",
    "lexicon_to_english": "higher",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one language.

    ``value`` is None when there is no measurement, and then ``reason`` says why; ``n`` counts what
    was measured (documents, articles, questions); ``low`` and ``high`` bound a 95 % interval, and
    are None where one observation gives none. ``stderr`` is the standard error over what was
    measured, ``chance`` what guessing would give; None where there is no such number. A row with
    a ``subtask`` is of a part of its task in this language (a subject, a direction); averages
    leave it out. ``source`` is the language translated from.
    """

    task: str
    language: str
    group: str
    metric: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    stderr: float | None = None
    chance: float | None = None
    subtask: str | None = None
    source: str | None = None

    def but(self, **fields: Any) -> Row:
        """Return the row with some of its fields changed."""
        return replace(self, **fields)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Row:
        """Build a row from ``as_dict``'s fields, leaving any other key (step, tokens) aside."""
        return cls(**{name: fields[name] for name in cls.__slots__ if name in fields})


def measured(rows: Iterable[Row], metric: str, task: str | None = None) -> dict[str, float]:
    """Return {language: value} of one metric, in the rows' order, without the unmeasured.

    ``task`` picks one of several tasks that have the metric; without it the first one counts.
    """
    found: dict[str, float] = {}
    for row in rows:
        if row.metric != metric or row.subtask is not None or task not in (None, row.task):
            continue
        if row.value is not None and math.isfinite(row.value):
            found.setdefault(row.language, row.value)
    return found


def macro(rows: Iterable[Row], metric: str, task: str | None = None) -> float | None:
    """Return the mean over the languages measured, each counting once; None if there are none."""
    values = list(measured(rows, metric, task).values())
    return math.fsum(values) / len(values) if values else None


def group_means(rows: Iterable[Row], metric: str, task: str | None = None) -> dict[str, float]:
    """Return {group: mean over its measured languages} in the order in which groups first occur."""
    rows = list(rows)
    values = measured(rows, metric, task)
    members = {row.language: row.group for row in rows if row.language in values}
    groups: dict[str, list[float]] = {}
    for language, value in values.items():
        groups.setdefault(members[language], []).append(value)
    return {group: math.fsum(found) / len(found) for group, found in groups.items()}


def worst(rows: Iterable[Row], metric: str) -> tuple[str, float] | None:
    """Return the language with the worst value of a metric, and that value."""
    values = measured(rows, metric)
    if not values:
        return None
    choose = max if METRICS.get(metric, "lower") == "lower" else min
    language = choose(values, key=lambda code: values[code])
    return language, values[language]
