from __future__ import annotations

from io import StringIO

from rich.console import Console

from marco.evaluation.compare_table import overview
from marco.evaluation.history import Evaluation
from marco.evaluation.matrix_table import matrix_tables
from marco.evaluation.rows import FAILED, Row
from marco.evaluation.task_table import task_tables
from marco.languages import get

ROWS = [
    Row("xnli", "eng", "english", "acc", 0.75, 4),
    Row("xnli", "swh", "low", "acc", 0.25, 4),
    Row("xnli", "swh", "low", "acc", 0.99, 2, subtask="a part"),
    Row("flores", "swh", "low", "bleu", 31.26, 4),
    Row("flores", "swh", "low", "wrong_language", 0.125, 8),
    Row("flores", "yor", "low", FAILED, None, 0, reason="no data"),
    Row("flores", "yor", "low", "wrong_language", None, 0, reason="unknown"),
]


def shown(*tables: object) -> list[list[str]]:
    console = Console(width=100, record=True, file=StringIO())
    for table in tables:
        console.print(table)
    return [line.split() for line in console.export_text().splitlines()]


def test_a_language_a_line_and_averages_below() -> None:
    first, texts = list(task_tables(ROWS, "mine"))
    lines = shown(first)
    assert ["mine"] in lines
    assert ["English", "eng", "0.750", "–"] in lines
    assert ["Swahili", "swh", "0.250", "31.3"] in lines
    assert ["Yoruba", "yor", "–", "failed"] in lines
    assert ["Mean,", "low", "0.250", "31.3"] in lines
    assert ["Macro", "average", "0.500", "31.3"] in lines
    assert ["of", "3", "languages", "2", "1"] in lines
    assert ["Swahili", "swh", "0.125", "–", "–", "–", "–"] in shown(texts)
    assert ["Yoruba", "yor", "–", "–", "–", "–", "–"] in shown(texts)


def test_many_tasks_are_several_tables_of_100_columns() -> None:
    rows = [Row(f"a_task_of_a_long_name_{n}", "eng", "english", "acc", 0.5, 4) for n in range(20)]
    tables = list(task_tables(rows, "many"))
    assert len(tables) == 3
    console = Console(width=300, record=True, file=StringIO())
    for table in tables:
        assert console.measure(table).minimum <= 100


def test_directions_are_a_matrix() -> None:
    values = {
        ("eng", "swh"): 10.0,
        ("eng", "yor"): 20.0,
        ("swh", "yor"): 30.0,
        ("yor", "eng"): 60.0,
    }
    rows = [
        Row("flores", into, get(into).group, "bleu", value, 9, subtask=f"{of}_{into}", source=of)
        for (of, into), value in values.items()
    ]
    one_source = [row.but(task="one") for row in rows if row.source == "eng"]
    (table,) = matrix_tables([*rows, *one_source], "mine")
    lines = shown(table)
    assert ["swh", "yor", "eng", "mean"] in lines
    assert ["English", "10.0", "20.0", "–", "15.0"] in lines
    assert ["Swahili", "–", "30.0", "–", "30.0"] in lines
    assert ["mean", "10.0", "25.0", "60.0", "30.0"] in lines


def test_several_evaluations_side_by_side() -> None:
    lines = shown(
        overview(
            [("one", Evaluation(0, 0, tuple(ROWS[:2]))), ("two", Evaluation(0, 0, tuple(ROWS)))]
        )
    )
    assert ["one", "0.500", "–", "–"] in lines
    assert ["two", "0.500", "31.3", "0.125"] in lines
