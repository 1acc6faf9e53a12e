"""A ranking as ``sweep.csv`` and ``sweep.html``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marco.evaluation.compare.files import write_rows
from marco.evaluation.ranking.page import page
from marco.evaluation.ranking.report import Ranking
from marco.evaluation.ranking.settings import value_of
from marco.evaluation.results.files import replace_file

CSV, PAGE = "sweep.csv", "sweep.html"
_HEAD = (
    *("rank", "runs", "value", "stderr", "difference", "low", "high", "p", "corrected", "verdict"),
    *("method", "task", "metric", "languages", "folders", "not_ranked"),
)


def write_ranking(folder: Path, ranking: Ranking) -> Path:
    """Write both files, each whole or not at all, and return the page's path.

    ``sweep.csv`` has a line for each setting: its place, the swept keys, its value, its difference
    to the best. Runs that are not ranked follow, with the reason; what there is not is empty.

    Raises:
        OSError: the disk is full, say.
    """
    write_rows(folder / CSV, [_HEAD[0], *ranking.keys, *_HEAD[1:]], _lines(ranking))
    path = folder / PAGE
    replace_file(path, lambda beside: beside.write_text(page(ranking), encoding="utf-8"))
    return path


def _lines(ranking: Ranking) -> Iterator[list[Any]]:
    measure = [ranking.task, ranking.metric, " ".join(ranking.languages)]
    for place, each in enumerate(ranking.order.ranked, 1):
        of = each.difference
        compared = [""] * 7
        if of is not None:
            numbers = (of.difference, of.low, of.high, of.p, of.adjusted)
            known = ["" if number is None or number != number else number for number in numbers]
            compared = [*map(str, known), of.verdict, of.method]
        folders = " ".join(run.name for run in each.setting.runs)
        yield [
            *(place, *each.setting.values, len(each.values), each.value, each.stderr),
            *(*compared, *measure, folders, ""),
        ]
    for run in ranking.left_out:
        values = [value_of(run, key) for key in ranking.keys]
        yield ["", *values, *[""] * (len(_HEAD) - 3), run.name, run.problem]
