from __future__ import annotations

import json
import logging
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from marco.tracking.local import LocalLogger


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_one_line_a_step_on_disk_at_once(tmp_path: Path) -> None:
    logger = LocalLogger(tmp_path / "run")
    logger.log_metrics({"train/loss": 2.5, "tokens": 100}, step=1)
    assert read(tmp_path / "run") == [{"step": 1, "tokens": 100, "train/loss": 2.5}]
    logger.log_metrics({"tokens": 100, "data/tokens/tha": 40}, step=1)
    logger.log_metrics({"tokens": 200, "train/loss": torch.tensor(float("nan"))}, step=2)
    assert read(tmp_path / "run") == [
        {"step": 1, "tokens": 100, "train/loss": 2.5, "data/tokens/tha": 40},
        {"step": 2, "tokens": 200, "train/loss": None},
    ]
    assert list(read(tmp_path / "run")[0])[:2] == ["step", "tokens"]


def calls(first: int, last: int) -> Iterator[tuple[int, dict[str, float]]]:
    """What two callbacks log in steps first…last."""
    for step in range(first, last + 1):
        yield step, {"tokens": 100 * step, "train/loss": 10 / step, "data/epochs/yor": 0.1 * step}
        if step % 2 == 0:
            yield step, {"tokens": 100 * step, "eval/bits_per_byte/中文": 2 + 1 / step}


@given(killed=st.integers(1, 9), resumed=st.integers(0, 9), torn=st.integers(0, 60))
def test_a_resumed_file_equals_an_uninterrupted_one(killed: int, resumed: int, torn: int) -> None:
    resumed = min(
        resumed, killed - 1
    )  # the last step's line may be torn: it is beyond the checkpoint
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = LocalLogger(folder / "whole")
        for step, metrics in calls(1, 12):
            whole.log_metrics(metrics, step)
        first = LocalLogger(folder / "killed")
        for step, metrics in calls(1, killed):
            first.log_metrics(metrics, step)
        path = folder / "killed" / "metrics.jsonl"
        last_line = len(path.read_bytes().splitlines(keepends=True)[-1])
        path.write_bytes(path.read_bytes()[: path.stat().st_size - min(torn, last_line)])
        again = LocalLogger(folder / "killed", resumed_step=resumed)
        # an evaluation at the resumed step may be repeated, too
        for step, metrics in calls(max(resumed, 1), 12):
            again.log_metrics(metrics, step)
        assert path.read_bytes() == (folder / "whole" / "metrics.jsonl").read_bytes()


def test_full_disk_warns_once_and_keeps_whole_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = LocalLogger(tmp_path)
    logger.log_metrics({"tokens": 100, "a": 1.5}, step=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "metrics.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, limits[1]))  # beyond: EFBIG
    try:
        logger.log_metrics({"tokens": 100, "b": 2.5}, step=1)
        assert read(tmp_path) == [{"step": 1, "tokens": 100, "a": 1.5}]
        logger.log_metrics({"tokens": 200, "a": 3.5}, step=2)
        assert read(tmp_path) == [{"step": 1, "tokens": 100, "a": 1.5}]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert "metrics.jsonl" in caplog.text
    logger.log_metrics({"tokens": 300, "a": 4.5}, step=3)
    assert read(tmp_path)[-1] == {"step": 3, "tokens": 300, "a": 4.5}


def test_folder_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "run").write_text("a file")
    logger = LocalLogger(tmp_path / "run")
    logger.log_metrics({"tokens": 1}, step=1)
    logger.log_metrics({"tokens": 2}, step=2)
    assert len(caplog.records) == 1


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    LocalLogger(tmp_path).log_metrics({"tokens": 1}, step=1)
    assert list(tmp_path.iterdir()) == []
