"""Many languages in one number: macro averages, the worst five, the gap to English, with intervals.

The interval of every aggregate is bootstrapped: within each language its items are drawn again with
replacement, independently of the other languages, and every aggregate is computed anew from the
redrawn values. It says how far the items chosen could have moved the number. It is no statement on
other languages; where the items are translations of each other (Belebele), whose difficulty the
languages share, the interval of an average is too narrow for *other questions*; and a language
whose items all came out alike (0 of 20 right) counts as free of error.

Intervals are the 2.5 % and 97.5 % points of the redrawn values (percentile intervals), except of
the worst five. These are chosen *because* they came out low, so their mean is biased, and the
redrawn one twice. Reflected at the value (the "basic" interval; Davison & Hinkley 1997, section
5.2) that cancels, as long as languages differ by more than their errors. Where they don't, the
worst five are those with the worst luck, and their interval says too little: what share of the
intervals holds the truth is printed by ``python -m bench.worst_languages``, and stands there.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from marco.evaluation.items import Item
from marco.evaluation.results.samples import Array, Estimate, Sample, of_rows
from marco.evaluation.rows import Direction, Row, better
from marco.languages import get

#: How many languages the worst ones are.
WORST = 5

Over = Literal["languages", "group", "script", "family", "worst_5", "gap_to_english"]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One metric over several languages, each counting once.

    Attributes:
        task: of the rows.
        metric: of the rows.
        over: ``languages``: all; ``group``, ``script``, ``family``: those of ``name``; ``worst_5``:
            the five worst (only of more than five); ``gap_to_english``: how much worse than English
            the mean of the others is, positive in either direction of the metric.
        name: the group, script or family.
        corrected: whether values are (value - chance) / (1 - chance): 0 is guessing, 1 is perfect.
        value: the aggregate.
        languages: how many it takes in; of a gap, without English.
        n: the items that it was found from; of the worst five, those of all languages.
        low: lower end of the 95 % interval; None where a language's error isn't known.
        high: its upper end.
        stderr: standard deviation of the redrawn aggregates.
        interval: how ``low`` and ``high`` were found.
    """

    task: str
    metric: str
    over: Over
    name: str | None
    corrected: bool
    value: float
    languages: int
    n: int
    low: float | None
    high: float | None
    stderr: float | None
    interval: Literal["percentile", "basic"]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary that JSON can hold."""
        return asdict(self)


def aggregate(
    task: str,
    metric: str,
    measured: Mapping[str, Sample | Estimate],
    *,
    chance: Mapping[str, float] | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> list[Aggregate]:
    """Return every aggregate of one metric of one task.

    Args:
        task: the name to give them.
        metric: its direction says which languages are the worst; without a direction, there are
            no worst ones and no gap.
        measured: language → its items, or its value.
        chance: language → what guessing gives. Where it covers all languages, the aggregates are
            given a second time, of values corrected for it.
        replicates: how often the items are drawn anew.
        seed: the same seed draws the same, of each language whatever the others are.
    """
    if not measured:
        return []
    codes = list(measured)
    # Row 0 is what was measured, the other rows are redrawn.
    values = np.empty((1 + replicates, len(codes)))
    for column, (code, known) in enumerate(measured.items()):
        generator = np.random.default_rng([seed, zlib.crc32(code.encode())])
        values[0, column] = known.value
        values[1:, column] = known.draws(generator, replicates)
    n = [known.n for known in measured.values()]
    guess = np.array([(chance or {}).get(code, np.nan) for code in codes])
    sets = [(False, values)]
    if (guess < 1).all():
        sets.append((True, (values - guess) / (1 - guess)))
    return [
        Aggregate(
            task,
            metric,
            over,
            name,
            corrected,
            float(results[0]),
            {"worst_5": WORST, "gap_to_english": len(columns) - 1}.get(over, len(columns)),
            sum(n[column] for column in columns),
            *_spread(results, basic=over == "worst_5"),
        )
        for corrected, them in sets
        for over, name, columns, function in _kinds(codes, better(metric))
        for results in [function(them[:, columns])]
    ]


def aggregate_all(rows: Sequence[Row], items: Mapping[str, Sequence[Item]]) -> list[Aggregate]:
    """Return the aggregates of every task and metric of an evaluation.

    Args:
        rows: all that was measured.
        items: task → its items; without any, its rows' standard errors stand in.
    """
    found: list[Aggregate] = []
    whole = [row for row in rows if row.subtask is None]
    for task, metric in dict.fromkeys((row.task, row.metric) for row in whole):
        mine = [row for row in whole if (row.task, row.metric) == (task, metric)]
        chance = {row.language: row.chance for row in mine if row.chance is not None}
        measured = of_rows(mine, items.get(task, ()), task, metric)
        found += aggregate(task, metric, measured, chance=chance)
    return found


def _kinds(
    codes: list[str], direction: Direction | None
) -> Iterator[tuple[Over, str | None, list[int], Callable[[Array], Array]]]:
    """Yield what each aggregate is over, its name, its columns, and what it makes of these."""
    everything = list(range(len(codes)))
    yield "languages", None, everything, _mean
    for over, of in _MEMBERSHIP.items():
        members: dict[str, list[int]] = {}
        for column, code in enumerate(codes):
            members.setdefault(of(code), []).append(column)
        for name, columns in members.items():
            yield over, name, columns, _mean
    if direction is None:
        return
    sign = 1.0 if direction == "higher" else -1.0
    if len(codes) > WORST:
        yield "worst_5", None, everything, lambda values: _worst(values, sign)
    if "eng" in codes and len(codes) > 1:
        english = codes.index("eng")
        yield "gap_to_english", None, everything, lambda values: sign * _gap(values, english)


_MEMBERSHIP: Mapping[Over, Callable[[str], str]] = {
    "group": lambda code: get(code).group,
    "script": lambda code: get(code).script,
    "family": lambda code: get(code).family,
}


def _mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=1))


def _worst(values: Array, sign: float) -> Array:
    return np.asarray(sign * np.sort(sign * values, axis=1)[:, :WORST].mean(axis=1))


def _gap(values: Array, english: int) -> Array:
    return np.asarray(values[:, english] - np.delete(values, english, axis=1).mean(axis=1))


def _spread(
    results: Array, *, basic: bool
) -> tuple[float | None, float | None, float | None, Literal["percentile", "basic"]]:
    """Interval and standard error from the aggregate (first) and its redrawn values."""
    value, redrawn = float(results[0]), results[1:]
    kind: Literal["percentile", "basic"] = "basic" if basic else "percentile"
    if len(redrawn) < 2 or np.isnan(redrawn).any():
        return None, None, None, kind
    low, high = (float(point) for point in np.percentile(redrawn, [2.5, 97.5]))
    if basic:
        # An error bar without its point helps nobody: widened to hold the value.
        low, high = min(2 * value - high, value), max(2 * value - low, value)
    return low, high, float(redrawn.std(ddof=1)), kind
