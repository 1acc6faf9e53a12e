"""The loader's bench in small: it measures what it says, and ends with its JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import loader


def test_padding_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "LENGTH", 64)
    loader.write_shard(tmp_path / "0.ds", 20_000, 0)
    source = loader.opened(tmp_path, "eng")
    monkeypatch.setattr(loader.time, "perf_counter", iter((0.0, 1.0, 2.0, 3.0)).__next__)
    tokens = 2 * loader.SEQUENCES * 64
    assert loader.ours([source], "concat", tokens) == tokens
    assert loader.ours([source], "best_fit", tokens) < tokens


def test_sparse_shards_take_two_blocks(tmp_path: Path) -> None:
    loader.write_sparse(tmp_path / "0.ds", 10**9)
    store = loader.opened(tmp_path, "eng").store
    store.check()
    assert len(store) == 10**9 // 2
    assert np.array_equal(store.read(len(store) - 3, len(store)), [0, 1, 0])
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) < 10**5


def test_it_ends_with_its_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"LENGTH": 256, "SEQUENCES": 8, "BATCHES": 20}.items():
        monkeypatch.setattr(loader, name, value)
    arguments = ["--rounds", "1", "--million", "1", "--shards", "12", "--gigabytes", "1"]
    monkeypatch.setattr(sys, "argv", ["loader", *arguments])
    loader.main()
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["tokens_per_second_per_core"] > 0
    assert line["ratio"] == pytest.approx(
        line["tokens_per_second_per_core"] / line["datatrove_tokens_per_second"]
    )
    assert 0 < line["resume_seconds"] < 5
    assert 0 < line["best_fit_resume_seconds"] < 5
    assert line["disk_megabytes"] < 1
