from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb

from marco.errors import DataError
from marco.evaluation.compare.wandb_run import is_wandb, read_wandb
from marco.evaluation.history import Evaluation, to_frame
from marco.evaluation.rows import Row
from marco.tracking.wandb_service import table_of

ROW = Row("lid", "swh", "low", "acc", 0.25, 100, stderr=0.04)
OTHER = Row("lid", "tha", "high", "acc", None, 0, reason="no text")
PATH = "media/table/eval/table_7_abc.table.json"


class Served:
    """What ``wandb.Api().run`` gives, as far as it is used."""

    name, id = "brisk-river-1", "abc"
    config = {"seed": 1, "optimizer": {"lr": 0.1}}

    def __init__(self, table: bool = True) -> None:
        self.summary: dict[str, Any] = {"data/tokens/swh": 500, "data/epochs/swh": 0.5, "x": 1}
        if table:
            self.summary["eval/table"] = {"_type": "table-file", "path": PATH}

    def scan_history(self, keys: list[str]) -> Iterator[dict[str, Any]]:
        assert keys == ["tokens", "train/loss"]
        yield {"tokens": 20, "train/loss": 4.0}
        yield {"tokens": 10, "train/loss": 5.0}

    def file(self, name: str) -> Any:
        assert name == PATH

        def download(root: str, replace: bool) -> None:
            history = [Evaluation(0, 0, (ROW.but(value=0.1),)), Evaluation(5, 900, (ROW, OTHER))]
            table = table_of(to_frame(history))._to_table_json()
            path = Path(root) / name
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(table, default=int))  # a step is a numpy integer

        return SimpleNamespace(download=download)


def api(found: Any) -> Any:
    def run(path: str) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    return SimpleNamespace(run=run)


def test_a_run_is_read_from_its_last_table() -> None:
    found = read_wandb("entity/project/abc", api(Served()))
    assert found.rows == [ROW, OTHER]
    assert found.tokens == 900
    assert found.name == "brisk-river-1 (abc)"
    assert found.config == {"seed": 1, "optimizer.lr": 0.1}
    assert found.losses == [(10, 5.0), (20, 4.0)]
    assert found.ledger == {"swh": {"tokens": 500.0, "epochs": 0.5}}
    assert read_wandb("entity/project/abc", api(Served(table=False))).rows == []


def test_what_the_server_says_is_the_message() -> None:
    with pytest.raises(DataError, match="W&B gives no such run: could not find run"):
        read_wandb("entity/project/abc", api(wandb.errors.CommError("could not find run")))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("a/b/c", True), ("a-1/b.c/runs/x", True), ("a/b", False), ("/a/b/c", False), ("x", False)],
)
def test_the_form_of_a_run_path(argument: str, expected: bool) -> None:
    assert is_wandb(argument) is expected
