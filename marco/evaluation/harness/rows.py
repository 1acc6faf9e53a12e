"""The values of a family's tasks → rows: one a language and metric, and those of its parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from marco.evaluation.harness.prepared import PreparedTask
from marco.evaluation.harness.score import Scored
from marco.evaluation.intervals import Z95, of_mean, of_ratio, wilson
from marco.evaluation.rows import FAILED, Row
from marco.languages import get

Outcome = Scored | Exception


def task_rows(outcomes: Sequence[tuple[PreparedTask, Outcome]]) -> list[Row]:
    """Return the rows of one family.

    A language's row is the mean over its tasks, each weighted by its documents (MMLU's subjects),
    or, of corpus scores such as BLEU, each once (directions into the language). Where a language
    has several tasks, they have rows of their own too, with lm-eval's name as ``subtask``. A
    language of which a task failed has no value: a mean over fewer tasks is another number.
    """
    languages: dict[str, list[tuple[PreparedTask, Outcome]]] = {}
    for prepared, outcome in outcomes:
        languages.setdefault(prepared.language, []).append((prepared, outcome))
    rows: list[Row] = []
    for parts in languages.values():
        leaves = [leaf for prepared, outcome in parts for leaf in _leaf_rows(prepared, outcome)]
        if len(parts) == 1:
            rows += [row.but(subtask=None) for row in leaves]
            continue
        scored = [outcome for _, outcome in parts if isinstance(outcome, Scored)]
        for name in dict.fromkeys(row.metric for row in leaves):
            same = [row for row in leaves if row.metric == name]
            means = all(_is_mean(each, name) for each in scored if name in each.values)
            rows.append(_together(same, len(parts), means))
        rows += leaves
    return rows


def _leaf_rows(prepared: PreparedTask, outcome: Outcome) -> list[Row]:
    group = get(prepared.language).group
    given: dict[str, Any] = {
        "task": prepared.family,
        "language": prepared.language,
        "group": group,
        "subtask": prepared.name,
        "source": prepared.source,
    }
    if isinstance(outcome, Exception):
        reason = reason_of(outcome)
        metrics = prepared.metrics or (FAILED,)
        return [Row(metric=m, value=None, n=0, reason=reason, **given) for m in metrics]
    rows = []
    for metric, value in outcome.aggregates.items():
        values = outcome.values[metric]
        if not math.isfinite(value):
            reason = f"the value is {value}"
            rows.append(Row(metric=metric, value=None, n=len(values), reason=reason, **given))
            continue
        spread: dict[str, Any] = _spread(
            prepared.task, metric, values, value, _is_mean(outcome, metric)
        )
        rows.append(
            Row(
                metric=metric,
                value=value,
                n=len(values),
                chance=outcome.chance.get(metric),
                **spread,
                **given,
            )
        )
    return rows


def reason_of(error: Exception) -> str:
    """Return an error in one line."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"


def _is_mean(outcome: Scored, metric: str) -> bool:
    values = outcome.values[metric]
    return all(isinstance(found, int | float) for found in values) and math.isclose(
        math.fsum(values) / len(values), outcome.aggregates[metric], abs_tol=1e-12
    )


def _spread(
    task: Any, metric: str, values: Sequence[Any], value: float, mean: bool
) -> dict[str, float]:
    """Standard error and interval of a mean, or of a likelihood over a length; else nothing."""
    if mean:
        if all(found in (0, 1) for found in values):
            low, high = wilson(round(math.fsum(values)), len(values))
            if len(values) < 2:
                return {"low": low, "high": high}
            spread = value * (1 - value) / (len(values) - 1)
            return {"low": low, "high": high, "stderr": math.sqrt(spread)}
        found = of_mean([float(each) for each in values])
    elif task.OUTPUT_TYPE == "loglikelihood_rolling" and metric == "bits_per_byte":
        bits = [-float(nats) / math.log(2) for nats, _ in values]
        found = of_ratio(bits, [float(length) for _, length in values])
    else:
        return {}
    if found is None:
        return {}
    return {"low": found[0], "high": found[1], "stderr": (found[1] - found[0]) / (2 * Z95)}


def _together(leaves: Sequence[Row], parts: int, means: bool) -> Row:
    first = leaves[0]
    failed = [row for row in leaves if row.value is None]
    n = sum(row.n for row in leaves)
    common: Mapping[str, Any] = {"subtask": None, "source": None, "n": n}
    nothing: Mapping[str, Any] = {"value": None, "low": None, "high": None, "stderr": None}
    if failed or len(leaves) < parts:
        missing = len(failed) + parts - len(leaves)
        reason = f"{missing} of {parts} tasks have no value"
        if failed:
            name, why = failed[0].subtask or "", failed[0].reason or ""
            reason += f": {why if name in why else f'{name}: {why}'}"
        return first.but(**common, **nothing, reason=reason)
    weights = [row.n / n if means else 1 / parts for row in leaves]
    value = math.fsum(w * float(row.value or 0) for w, row in zip(weights, leaves, strict=True))
    spread: dict[str, float | None] = {"low": None, "high": None, "stderr": None}
    if all(row.stderr is not None for row in leaves):
        squares = (w * float(row.stderr or 0) for w, row in zip(weights, leaves, strict=True))
        stderr = math.hypot(*squares)
        spread = {"low": value - Z95 * stderr, "high": value + Z95 * stderr, "stderr": stderr}
    chance = None
    if all(row.chance is not None for row in leaves):
        chance = math.fsum(
            w * float(row.chance or 0) for w, row in zip(weights, leaves, strict=True)
        )
    return first.but(**common, **spread, value=value, chance=chance)
