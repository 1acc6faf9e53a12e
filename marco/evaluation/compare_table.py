"""Several evaluations in one table: a line each, a column for every task's macro average."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from marco.evaluation.history import Evaluation
from marco.evaluation.rows import macro
from marco.evaluation.scalars import series
from marco.evaluation.task_table import heading, number


def overview(made: Sequence[tuple[str, Evaluation]]) -> Table:
    """Return the table; the averages are over the languages that each has."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Macro averages")
    table.title_justify = "left"
    table.add_column("", overflow="fold")
    found = [series(evaluation.rows) for _, evaluation in made]
    names = list(dict.fromkeys(name for each in found for name in each))
    for name in names:
        table.add_column(heading(name), justify="right", overflow="fold")
    for (title, evaluation), shown in zip(made, found, strict=True):
        macros = {n: macro(evaluation.rows, metric, task) for n, (task, metric) in shown.items()}
        table.add_row(title, *(number(macros.get(name)) for name in names))
    return table
