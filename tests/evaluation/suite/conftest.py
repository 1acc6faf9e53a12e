"""Small local data sets in the hub's layout, and a cache of ``datasets`` of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Rows], None]:
    """Write rows to a file under ``tmp_path/data``, in the format that its name ends in."""

    def written(name: str, rows: Rows) -> None:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        elif name.endswith(".csv"):
            lines = [rows[0].keys(), *(row.values() for row in rows)]
            path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    return written


@pytest.fixture
def belebele() -> Rows:
    return [
        {
            "flores_passage": f"The cat sat on mat {number}.",
            "question": "Who sat?",
            **{f"mc_answer{choice}": f"the {choice}. cat" for choice in range(1, 5)},
            "correct_answer_num": str(number % 4 + 1),
        }
        for number in range(6)
    ]
