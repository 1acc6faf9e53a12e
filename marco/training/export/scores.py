"""The scores of a model card: per language with intervals, and what was retained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from marco.evaluation.results.aggregates import Aggregate
from marco.evaluation.results.table import read_aggregates, read_results
from marco.evaluation.rows import Row, better
from marco.languages import get

NOTHING = "–"


def read_scores(folder: Path) -> tuple[list[Row], list[Aggregate]]:
    """Return the rows and the aggregates of an evaluation's folder.

    Raises:
        DataError: it is none.
    """
    names = Aggregate.__slots__
    rows = [Row.from_dict(record) for record in read_results(folder)]
    found = [
        Aggregate(**{name: record[name] for name in names}) for record in read_aggregates(folder)
    ]
    return [row for row in rows if row.subtask is None and row.value is not None], found


def score_tables(rows: Sequence[Row], aggregates: Sequence[Aggregate]) -> Iterator[str]:
    """Yield a Markdown table for each task: languages down, metrics across, 95 % intervals."""
    for task in dict.fromkeys(row.task for row in rows):
        mine = {(row.language, row.metric): row for row in rows if row.task == task}
        metrics = list(dict.fromkeys(metric for _, metric in mine))
        lines = [["Language", *map(_headed, metrics)]]
        means = {
            each.metric: _interval(each.value, each.low, each.high)
            for each in aggregates
            if each.task == task and each.over == "languages" and not each.corrected
        }
        if means:
            lines.append(["**Average**", *(means.get(metric, NOTHING) for metric in metrics)])
        for code in dict.fromkeys(code for code, _ in mine):
            found = [mine.get((code, metric)) for metric in metrics]
            cells = [NOTHING if r is None else _interval(r.value, r.low, r.high) for r in found]
            lines.append([named(code), *cells])
        yield f"**{task}**\n\n{table(lines)}"


def retention_table(before: Sequence[Row], after: Sequence[Row], anchors: Sequence[str]) -> str:
    """Return the Markdown table of what the anchor languages had before training and have now."""
    had: Mapping[tuple[str, str, str], Row] = {
        (row.language, row.task, row.metric): row
        for row in before
        if row.subtask is None and row.value is not None
    }
    lines = [["Language", "Task", "Metric", "Before", "Now", "Change"]]
    for code in anchors:
        for row in after:
            old = had.get((code, row.task, row.metric))
            if row.language != code or old is None or old.value is None or row.value is None:
                continue
            change = NOTHING if not old.value else f"{row.value / old.value - 1:+.1%}"
            values = [_interval(each.value, each.low, each.high) for each in (old, row)]
            lines.append([named(code), row.task, _headed(row.metric), *values, change])
    return table(lines) if len(lines) > 1 else ""


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first line is its head."""
    head, *body = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *body])


def named(code: str) -> str:
    """Return a language as a card names it."""
    return f"{get(code).name} ({code})"


def _headed(metric: str) -> str:
    arrow = {"lower": " ↓", "higher": " ↑", None: ""}[better(metric)]
    return metric + arrow


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return NOTHING
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
