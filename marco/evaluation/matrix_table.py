"""The table of translation: source × target, a metric a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from marco.evaluation.rows import Row
from marco.evaluation.task_table import NOTHING, OF_TEXTS, number
from marco.languages import get

#: Columns of targets that fit into 100 characters beside the source.
COLUMNS = 11


def matrix_tables(rows: Sequence[Row], title: str) -> Iterator[Table]:
    """Yield tables of at most 100 columns for tasks that translate not only from or into English.

    A line is the language translated from, with its mean; the last line is each target's mean, and
    in its corner that of all directions.
    """
    directions: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for row in rows:
        if row.source is not None and row.value is not None and row.metric not in OF_TEXTS:
            found = directions.setdefault((row.task, row.metric), {})
            found[row.source, row.language] = row.value
    for (task, metric), found in directions.items():
        sources = list(dict.fromkeys(source for source, _ in found))
        targets = list(dict.fromkeys(target for _, target in found))
        if all("eng" in pair for pair in found):  # a row and a column: the table of tasks has them
            continue
        for start in range(0, len(targets), COLUMNS):
            shown = targets[start : start + COLUMNS]
            what = f"{title} · {task}, {metric}: from (down) into (across)"
            yield _table(found, sources, shown, what)


def _table(
    found: dict[tuple[str, str], float], sources: list[str], targets: list[str], title: str
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title)
    table.title_justify = "left"
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=16)
    for target in targets:
        table.add_column(target, justify="right")
    table.add_column("mean", justify="right")
    for source in sources:
        cells = [number(found.get((source, target))) for target in targets]
        mean = _mean([value for (of, _), value in found.items() if of == source])
        table.add_row(get(source).name, *cells, mean)
    table.add_section()
    means = [_mean([v for (_, into), v in found.items() if into == target]) for target in targets]
    table.add_row("mean", *means, _mean(list(found.values())), style="bold")
    return table


def _mean(values: Sequence[float]) -> str:
    return number(sum(values) / len(values)) if values else NOTHING
