from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from marco.errors import ConfigError, DataError
from marco.evaluation.results import files
from marco.evaluation.results.aggregates import aggregate
from marco.evaluation.results.samples import Estimate
from marco.evaluation.results.table import (
    AGGREGATES_SCHEMA,
    SCHEMA,
    Measured,
    read_aggregates,
    read_results,
    tidy,
    tidy_aggregates,
    write_aggregates,
    write_results,
)
from marco.evaluation.rows import Row

RUN = Measured("udhr_tiny", "step-200", 1_000_000)
ROWS = [
    Row("belebele", "swh", "low", "acc", 0.1 + 0.2, 900, 0.25, 0.35, stderr=0.0152, chance=0.25),
    Row("flores", "deu", "high", "chrf", 41.5, 1012, subtask="flores_eng-deu", source="eng"),
    Row("broken", "eng", "english", "acc", None, 0, reason="ValueError: no such split"),
    Row("broken", "cmn", "chinese", "acc", math.nan, 3, -math.inf, math.inf),
]


def same(left: object, right: object) -> bool:
    return repr(left) == repr(right)  # NaN is equal to NaN here, and differs from None


def test_the_table_says_what_a_language_is() -> None:
    first = tidy(ROWS, RUN)[0]
    assert list(first) == SCHEMA.names
    wanted = {"run": "udhr_tiny", "checkpoint": "step-200", "tokens": 1_000_000}
    assert wanted.items() <= first.items()
    wanted = {"name": "Swahili", "script": "Latn", "family": "Niger-Congo", "group": "low"}
    assert wanted.items() <= first.items()
    with pytest.raises(ConfigError, match="qqq"):
        tidy([ROWS[0].but(language="qqq")], RUN)


def test_both_files_give_back_what_was_written(tmp_path: Path) -> None:
    records = tidy(ROWS, RUN) + tidy(ROWS[:1], Measured("base", "Qwen/Qwen2-0.5B"))
    parquet, plain = write_results(tmp_path / "new", records)
    assert same(read_results(tmp_path / "new"), records)
    assert same(files.read_records(plain, SCHEMA), records)
    assert sorted(path.name for path in parquet.parent.iterdir()) == [plain.name, parquet.name]
    assert [Row.from_dict(record) for record in records[:3]] == ROWS[:3]
    assert records[2]["value"] is None
    assert math.isnan(records[3]["value"])


def test_the_json_is_json(tmp_path: Path) -> None:
    _, plain = write_results(tmp_path, tidy(ROWS, RUN))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    values = json.loads(plain.read_text(encoding="utf-8"), parse_constant=refuse)
    assert [record["value"] for record in values] == [0.1 + 0.2, 41.5, None, "NaN"]
    assert (values[3]["low"], values[3]["high"]) == ("-Infinity", "Infinity")


def test_an_empty_table_is_one(tmp_path: Path) -> None:
    _, plain = write_results(tmp_path, [])
    assert read_results(tmp_path) == files.read_records(plain, SCHEMA) == []


def test_a_write_that_fails_leaves_the_old_table(tmp_path: Path) -> None:
    records = tidy(ROWS, RUN)
    write_results(tmp_path, records)
    for wrong in ({**records[0], "colour": "red"}, {**records[0], "n": "many"}):
        with pytest.raises(DataError, match="results: "):
            write_results(tmp_path, [wrong])
    with pytest.raises(ZeroDivisionError):
        files.replace_file(tmp_path / "results.parquet", lambda path: path.write_bytes(b"half") / 0)
    assert same(read_results(tmp_path), records)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No file .*results\.parquet"):
        read_results(tmp_path)
    files.write_records(tmp_path, "results", [{"n": 1}], SCHEMA.remove(0))
    with pytest.raises(DataError, match="has the columns"):
        read_results(tmp_path)


def test_aggregates_are_kept_likewise(tmp_path: Path) -> None:
    known = {"eng": Estimate(0.8, 9, 0.02), "swh": Estimate(0.5, 9)}
    aggregates = aggregate("belebele", "acc", known)
    records = tidy_aggregates(aggregates, RUN)
    assert list(records[0]) == AGGREGATES_SCHEMA.names
    _, plain = write_aggregates(tmp_path, records)
    assert read_aggregates(tmp_path) == files.read_records(plain, AGGREGATES_SCHEMA) == records
    assert len(records) == len(aggregates) > 3
