"""The tidy row every measurement becomes, and the averages taken over rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Direction = Literal["lower", "higher"]

#: Stands for the metrics of a task that failed before it could name them.
FAILED = "failed"

#: marco's own metrics, with the direction in which they improve: a length ratio is best at one,
#: and how many generations are too short to be judged, or how often a judge does not decide, is
#: neither good nor bad.
METRICS: dict[str, Direction | None] = {
    "bits_per_byte": "lower",
    "nats_per_article": "lower",
    "lexicon_accuracy": "higher",
    "lexicon_from_english": "higher",
    "lexicon_to_english": "higher",
    "wrong_language": "lower",
    "wrong_script": "lower",
    "repetition": "lower",
    "alignment": "higher",
    "overlap": "lower",
    "overlap_ngrams": "lower",
    "option_order_p": "higher",
    "option_order_share": "lower",
    "option_order_outliers": "lower",
    "length_ratio": None,
    "too_short": None,
    "win_rate": "higher",
    "win": "higher",
    "tie": None,
    "loss": "lower",
    "disagreement": None,
    "unjudged": None,
}

#: How the names of other metrics end that improve downwards: those of lm-eval 0.4.13's own, and
#: the error rates its tasks define. A count of bias or toxicity has no such name, and isn't known.
_LOWER_ENDINGS = ("perplexity", "brier_score", "loss", "ter", "wer", "cer")


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


def better(metric: str) -> Direction | None:
    """Return the direction in which a metric improves; None where neither is better.

    A metric that is not marco's is higher-is-better (acc, f1, bleu, chrf), unless its name says
    otherwise. What follows a comma, the filter of an lm-eval task, does not count.
    """
    name = metric.partition(",")[0]
    if name in METRICS:
        return METRICS[name]
    lower = any(f"_{name}".endswith(f"_{end}") for end in _LOWER_ENDINGS)
    return "lower" if lower else "higher"


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
    """Return the language with the worst value of a metric, and that value.

    None if nothing was measured, or if the metric has no direction.
    """
    values = measured(rows, metric)
    direction = better(metric)
    if not values or direction is None:
        return None
    choose = max if direction == "lower" else min
    language = choose(values, key=lambda code: values[code])
    return language, values[language]
