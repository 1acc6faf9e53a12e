from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marco.errors import DataError
from marco.evaluation.items import Item
from marco.evaluation.results.folder import write_evaluation
from marco.evaluation.results.items import (
    KEY,
    copies,
    from_table,
    read_items,
    to_table,
    write_items,
)
from marco.evaluation.results.table import Measured
from marco.evaluation.rows import Row

ITEMS = [
    Item(
        "arc", "eng", "a1", {"acc": 1.0, "acc_norm": 0.0}, "banana", "banana", (-1.5, -2.0, -3.25)
    ),
    Item("arc", "eng", "a2", {"acc": 0.0, "acc_norm": 1.0}, "", "fig", (-1.0, float("-inf"))),
    Item("likelihood", "tha", "b", {"bits_per_byte:loglikelihood": -70.5}, loglikelihoods=(-70.5,)),
    Item("flores", "swh", "c", prediction="Watu wote\nwamezaliwa 🕊", target="huru"),
]


def run(right: list[int], order: list[int]) -> list[Item]:
    found = [
        Item("arc", "swh", f"doc{i}", {"acc": float(i in right)}, loglikelihoods=(-float(i),))
        for i in range(5)
    ]
    return [found[i] for i in order]


def test_items_come_back_as_they_were(tmp_path: Path) -> None:
    write_items(tmp_path / "new", ITEMS)
    assert read_items(tmp_path / "new") == ITEMS
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["items.parquet"]
    write_items(tmp_path / "new", [])
    assert read_items(tmp_path / "new") == []


def test_columns_have_types_whatever_they_hold(tmp_path: Path) -> None:
    empty = pq.read_table(write_items(tmp_path, [])).schema
    full = pq.read_table(write_items(tmp_path, ITEMS)).schema
    assert list(full)[: len(empty)] == list(empty)
    metrics = ["metric:acc", "metric:acc_norm", "metric:bits_per_byte:loglikelihood"]
    assert full.names[len(empty) :] == metrics
    assert {full.field(name).type for name in metrics} == {pa.float64()}


def test_two_runs_are_paired_by_their_key(tmp_path: Path) -> None:
    """In any order, with an item that only one run has."""
    one = to_table(run([0, 1], [0, 1, 2, 3])).select([*KEY, "metric:acc"])
    two = to_table(run([1, 2], [4, 2, 0, 1])).select([*KEY, "metric:acc"])
    both = one.join(two, keys=list(KEY), join_type="inner", right_suffix=".two")
    rows = both.select(["id", "metric:acc", "metric:acc.two"]).to_pylist()
    assert sorted(tuple(row.values()) for row in rows) == [
        ("doc0", 1, 0),
        ("doc1", 1, 1),
        ("doc2", 0, 1),
    ]


def test_a_document_that_is_there_twice_pairs_once() -> None:
    table = to_table([ITEMS[0], ITEMS[1], ITEMS[0], ITEMS[2]])
    assert table["copy"].to_pylist() == [0, 0, 1, 0]
    keys = table.select(list(KEY))
    assert keys.join(keys, keys=list(KEY), join_type="inner").num_rows == 4
    assert from_table(table) == [ITEMS[0], ITEMS[1], ITEMS[0], ITEMS[2]]


def test_half_a_character_is_storable() -> None:
    (read,) = from_table(to_table([Item("t", "eng", "x", prediction="a\ud83dz 🕊")]))
    assert read.prediction == "a\ufffdz 🕊"


def test_many_items_a_second(tmp_path: Path) -> None:
    """Measured: 200,000 written and 200,000 read a second on one core."""
    items = [
        Item(
            "arc",
            "eng",
            f"{i:016x}",
            {"acc": float(i % 2), "acc_norm": 1.0},
            "an answer",
            "a target",
            (-1.0, -2.0, -3.0, -float(i)),
        )
        for i in range(20_000)
    ]
    begin = time.process_time()
    write_items(tmp_path, items)
    assert read_items(tmp_path) == items
    assert time.process_time() - begin < 4


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No file .*items\.parquet"):
        read_items(tmp_path)
    pq.write_table(pa.table({"task": ["arc"]}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match="no column language, id"):
        read_items(tmp_path)


def test_an_evaluation_says_each_items_family_and_older_files_are_read(tmp_path: Path) -> None:
    row = Row("quiz", "eng", "high", "acc", 1.0, 1)
    item = Item("marco_quiz_eng", "eng", "a", {"acc": 1.0})
    write_evaluation(tmp_path, [row], {"quiz": [item]}, Measured("x", "", 1))
    assert read_items(tmp_path) == [replace(item, family="quiz")]
    older = pq.read_table(tmp_path / "items.parquet").drop_columns(["family"])
    assert from_table(older) == [item]


def test_copies_are_counted_as_they_come() -> None:
    items = [ITEMS[0], ITEMS[1], ITEMS[0], ITEMS[0]]
    assert copies(items) == [0, 0, 1, 2]
    assert copies(from_table(to_table(items))) == to_table(items)["copy"].to_pylist()
