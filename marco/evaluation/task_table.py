"""The table of an evaluation: language × task, with the averages of every group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from marco.evaluation.rows import FAILED, Row, group_means, macro, measured
from marco.evaluation.scalars import series
from marco.languages import GROUPS, get

#: Columns of numbers that fit into 100 characters beside the language.
COLUMNS = 7
NOTHING = "–"
#: What is measured of generated texts besides their score.
OF_TEXTS = ("wrong_language", "wrong_script", "too_short", "length_ratio", "repetition")
#: What may have no value without anything having failed.
OPTIONAL = (*OF_TEXTS, "option_order_p", "option_order_share", "option_order_outliers", "overlap")


def task_tables(rows: Sequence[Row], title: str) -> Iterator[Table]:
    """Yield tables of at most 100 columns: a language a line, a task a column.

    A task that failed in a language says so there; why is in the rows. How generated texts look
    (their language, length, repetition) comes last, in tables of its own.
    """
    plain = [row for row in rows if row.metric not in OF_TEXTS]
    yield from _tables(plain, series(plain), title)
    for task in dict.fromkeys(row.task for row in rows if row.metric in OF_TEXTS):
        mine = [row for row in rows if row.task == task and row.metric in OF_TEXTS]
        shown = {metric: (task, metric) for metric in OF_TEXTS}
        yield from _tables(mine, shown, f"{title} · texts of {task}")


def _tables(rows: Sequence[Row], named: dict[str, tuple[str, str]], title: str) -> Iterator[Table]:
    for start in range(0, len(named), COLUMNS):
        shown = {name: named[name] for name in list(named)[start : start + COLUMNS]}
        yield _table(rows, shown, title if start == 0 else f"{title} (continued)")


def number(value: float | None) -> str:
    """Three decimals of a share, one of a score out of a hundred."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def heading(name: str) -> str:
    """Return a task's name so that it is broken between words."""
    return name.replace("_", " ")


def _table(rows: Sequence[Row], shown: dict[str, tuple[str, str]], title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title)
    table.title_justify = "left"
    table.add_column("Language", no_wrap=True, overflow="ellipsis", min_width=12, max_width=22)
    table.add_column("", no_wrap=True)
    for name in shown:
        table.add_column(heading(name), justify="right", overflow="fold", min_width=6)
    values = {name: measured(rows, metric, task) for name, (task, metric) in shown.items()}
    codes = dict.fromkeys(row.language for row in rows if row.subtask is None)
    groups = [group for group in GROUPS if any(get(code).group == group for code in codes)]
    for group in groups:
        for code in codes:
            if get(code).group != group:
                continue
            cells = [
                number(found[code]) if code in found else _absent(rows, code, *shown[name])
                for name, found in values.items()
            ]
            table.add_row(get(code).name, code, *cells)
    table.add_section()
    means = {name: group_means(rows, metric, task) for name, (task, metric) in shown.items()}
    for group in groups:
        cells = [number(means[name].get(group)) for name in shown]
        table.add_row(f"Mean, {group}", "", *cells, style="dim")
    cells = [number(macro(rows, metric, task)) for task, metric in shown.values()]
    table.add_row("Macro average", "", *cells, style="bold")
    counts = [len(found) for found in values.values()]
    if any(count < len(codes) for count in counts):
        table.add_row(f"of {len(codes)} languages", "", *map(str, counts), style="dim")
    return table


def _absent(rows: Sequence[Row], code: str, task: str, metric: str) -> str:
    failed = any(
        (row.language, row.task, row.value, row.subtask) == (code, task, None, None)
        and row.metric in (metric, FAILED)
        and metric not in OPTIONAL
        for row in rows
    )
    return "[red]failed[/red]" if failed else NOTHING
