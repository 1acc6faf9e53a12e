"""An evaluation as named scalars, and in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from marco.evaluation.history import Evaluation
from marco.evaluation.rows import (
    FAILED,
    Direction,
    Row,
    better,
    group_means,
    macro,
    measured,
    worst,
)
from marco.languages import get

#: The tasks whose metrics are names enough.
OWN = ("likelihood", "lexicon")


def series(rows: Iterable[Row]) -> dict[str, tuple[str, str]]:
    """Return {name under which it is shown: (task, metric)} of everything measured.

    marco's own metrics are known by themselves (``bits_per_byte``). Other tasks are shown under
    their own name, which is their first metric's (``belebele``); a second one is
    ``belebele.acc_norm``.
    """
    whole = [row for row in rows if row.subtask is None]
    known = {row.task for row in whole if row.metric != FAILED}
    found: dict[str, tuple[str, str]] = {}
    for row in whole:
        if row.metric == FAILED and row.task in known:
            continue
        key = (row.task, row.metric)
        name = row.metric if row.task in OWN else row.task
        if found.get(name, key) != key:
            name = f"{row.task}.{row.metric}"
        found[name] = key
    return found


def scalars(evaluation: Evaluation) -> dict[str, float]:
    """Return an evaluation's metrics by the names under which they are logged."""
    return {key: value for key, value, _ in _named(evaluation)}


def directions(evaluation: Evaluation) -> dict[str, Direction]:
    """Return which way each of ``scalars``' metrics improves, of those that have a direction."""
    return {key: way for key, _, way in _named(evaluation) if way is not None}


def _named(evaluation: Evaluation) -> Iterator[tuple[str, float, Direction | None]]:
    rows = evaluation.rows
    for name, (task, metric) in series(rows).items():
        average, way = macro(rows, metric, task), better(metric)
        if average is None:
            continue
        yield f"eval/{name}/macro", average, way
        for language, value in measured(rows, metric, task).items():
            yield f"eval/{name}/{language}", value, way
        for group, value in group_means(rows, metric, task).items():
            yield f"eval/{name}/group/{group}", value, way


def line(evaluation: Evaluation, seconds: float) -> str:
    """Return one line on an evaluation: the macro averages and the worst language."""
    parts = []
    for metric, label in (("bits_per_byte", "bits per byte"), ("lexicon_accuracy", "lexicon")):
        average = macro(evaluation.rows, metric)
        last = worst(evaluation.rows, metric)
        if average is not None and last is not None:
            language, value = last
            parts.append(f"{label} {average:.3f} (worst {get(language).name} {value:.3f})")
    for name, (task, metric) in series(evaluation.rows).items():
        average = macro(evaluation.rows, metric, task)
        if task not in OWN and name == task and average is not None:
            parts.append(f"{name} {average:.3f}")
    failed = {
        row.task
        for row in evaluation.rows
        if row.value is None
        and row.task not in {other.task for other in evaluation.rows if other.value is not None}
    }
    parts += [f"{task} failed" for task in sorted(failed)]
    what = ", ".join(parts) or "nothing to measure"
    return f"Evaluation after {evaluation.tokens:,} tokens: {what} [{seconds:.1f} s]"
