"""The result of a comparison as a table: a language a line, the win rate with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from marco.evaluation.judge.scores import TASK
from marco.evaluation.results.aggregates import Aggregate
from marco.evaluation.rows import Row
from marco.evaluation.task_table import NOTHING, number
from marco.languages import get

_SHARES = ("win", "tie", "loss", "disagreement", "unjudged")


def judge_table(rows: Sequence[Row], aggregates: Sequence[Aggregate], title: str) -> Table:
    """Return the table, of at most 100 columns; under several languages stands their mean."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title)
    table.title_justify = "left"
    table.add_column("Language", no_wrap=True, overflow="ellipsis", max_width=22)
    table.add_column("", no_wrap=True)
    table.add_column("Questions", justify="right")
    table.add_column("Win rate", justify="right")
    table.add_column("95 %", justify="right", no_wrap=True)
    for name in _SHARES:
        table.add_column(name.capitalize(), justify="right")
    mine = [row for row in rows if row.task == TASK and row.subtask is None]
    for code in dict.fromkeys(row.language for row in mine):
        found = {row.metric: row for row in mine if row.language == code}
        rate = found["win_rate"]
        table.add_row(
            get(code).name,
            code,
            str(found["unjudged"].n),
            number(rate.value),
            _interval(rate.low, rate.high),
            *(number(found[name].value) for name in _SHARES),
        )
    macro = {each.metric: each for each in aggregates if each.over == "languages"}
    if "win_rate" in macro and macro["win_rate"].languages > 1:
        rate_over_all = macro["win_rate"]
        table.add_section()
        table.add_row(
            "Macro average",
            "",
            str(macro["unjudged"].n),
            number(rate_over_all.value),
            _interval(rate_over_all.low, rate_over_all.high),
            *(number(macro[name].value) for name in _SHARES),
            style="bold",
        )
    return table


def _interval(low: float | None, high: float | None) -> str:
    return NOTHING if low is None or high is None else f"{low:.3f}–{high:.3f}"
