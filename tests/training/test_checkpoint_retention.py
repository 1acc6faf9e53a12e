from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from marco.training import checkpoint
from marco.training.checkpoints.folder import size_on_disk
from marco.training.checkpoints.manifest import Manifest, record_files

METRIC = "bits_per_byte"


def save(folder: Path, step: int, **more: Any) -> Path:
    return checkpoint.save(
        folder,
        model=nn.Linear(4, 4),
        optimizer=None,
        progress={},
        config={},
        tokenizer_fingerprint="tok",
        step=step,
        tokens=step,
        **more,
    )


def bare(folder: Path, step: int, value: float | None) -> Path:
    """A checkpoint without tensors: all that retention looks at."""
    path = folder / f"step-{step:08d}"
    path.mkdir(parents=True)
    (path / "progress.json").write_bytes(b"x" * 1000)
    files = record_files(path, {})
    Manifest(step, step, 1, "A", "m", "t", {}, "h", "now", {}, files).write(path)
    if value is not None:
        checkpoint.attach_metrics(path, {METRIC: value})
    return path


def kept(folder: Path) -> list[int]:
    return list(checkpoint.checkpoints(folder))


def test_newest_and_best_stay(tmp_path: Path) -> None:
    for step, value in enumerate([3.0, 1.0, 2.0, 1.5, math.nan, 4.0], start=1):
        bare(tmp_path, step, value)
    bare(tmp_path, 7, None)
    removed = checkpoint.retain(tmp_path, metric=METRIC, best_k=2)
    assert kept(tmp_path) == [2, 4, 7]
    assert [path.name for path in removed] == [f"step-{step:08d}" for step in (1, 3, 5, 6)]
    assert (tmp_path / "last").readlink() == Path("step-00000007")
    assert checkpoint.retain(tmp_path, metric=METRIC, best_k=2) == []


def test_higher_can_be_better_and_ties_go_to_the_later(tmp_path: Path) -> None:
    for step, value in enumerate([0.5, 0.9, 0.9, 0.1], start=1):
        bare(tmp_path, step, value)
    checkpoint.retain(tmp_path, metric=METRIC, best_k=1, lower_is_better=False)
    assert kept(tmp_path) == [3, 4]


def test_a_metric_may_come_with_the_checkpoint_or_after(tmp_path: Path) -> None:
    first = save(tmp_path, 1, metrics={METRIC: 1.0, "loss": 5.0})
    second = save(tmp_path, 2)
    checkpoint.attach_metrics(second, {METRIC: 2.0})
    checkpoint.attach_metrics(first, {METRIC: 3.0})
    assert checkpoint.metrics_of(first) == {METRIC: 3.0, "loss": 5.0}
    assert checkpoint.verify(first) == []
    save(tmp_path, 3)
    checkpoint.retain(tmp_path, metric=METRIC, best_k=1)
    assert kept(tmp_path) == [2, 3]


def test_damaged_metrics_cost_the_rank_not_the_run(tmp_path: Path) -> None:
    path = save(tmp_path, 1, metrics={METRIC: 1.0})
    (path / "metrics.json").write_text("{")
    with pytest.warns(checkpoint.CheckpointWarning, match="its metrics are ignored"):
        assert checkpoint.metrics_of(path) == {}
    assert checkpoint.latest(tmp_path) == path


@pytest.mark.parametrize(
    ("budget", "left"), [(4, [1, 2, 4, 5]), (3, [2, 4, 5]), (2, [4, 5]), (1, [5])]
)
def test_the_budget_takes_the_worst_of_the_best_first(
    tmp_path: Path, budget: int, left: list[int]
) -> None:
    for step, value in enumerate([2.0, 1.0, 3.0, 4.0, 5.0], start=1):
        path = bare(tmp_path, step, value)
    gigabytes = (budget + 0.5) * size_on_disk(path) / 1e9
    checkpoint.retain(tmp_path, metric=METRIC, best_k=2, keep_last=2, disk_budget_gb=gigabytes)
    assert kept(tmp_path) == left


def test_a_budget_too_small_for_one_keeps_one_and_says_so(tmp_path: Path) -> None:
    bare(tmp_path, 1, 1.0)
    bare(tmp_path, 2, 2.0)
    with pytest.warns(checkpoint.CheckpointWarning, match="more than the disk budget of 1e-07 GB"):
        checkpoint.retain(tmp_path, metric=METRIC, best_k=1, disk_budget_gb=1e-7)
    assert kept(tmp_path) == [2]


def test_the_only_sound_one_is_never_removed(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        path = bare(tmp_path, step, None)
    (path / "progress.json").write_bytes(b"short")
    with pytest.warns(checkpoint.CheckpointWarning, match="counts as no checkpoint"):
        checkpoint.retain(tmp_path)
    assert kept(tmp_path) == [2]
    assert (tmp_path / "last").readlink() == Path("step-00000002")
    (tmp_path / "step-00000002" / "manifest.json").unlink()
    with pytest.warns(checkpoint.CheckpointWarning):
        assert checkpoint.retain(tmp_path) == []
    assert kept(tmp_path) == [2]


def test_a_removal_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2):
        bare(tmp_path, step, None)
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(source).name == "step-00000001":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.warns(checkpoint.CheckpointWarning, match="cannot be removed"):
        assert checkpoint.retain(tmp_path) == []
    assert kept(tmp_path) == [1, 2]


def test_a_run_that_went_back_does_not_find_what_it_left(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    gone = checkpoint.discard_after(tmp_path, 1)
    assert [path.name for path in gone] == ["step-00000002", "step-00000003"]
    assert checkpoint.latest(tmp_path) == tmp_path / "step-00000001"
    assert (tmp_path / "last").readlink() == Path("step-00000001")


def test_impossible_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep_last=0"):
        checkpoint.retain(tmp_path, keep_last=0)


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.none() | st.floats(allow_nan=True), min_size=1, max_size=6),
    best_k=st.integers(0, 4),
    keep_last=st.integers(1, 3),
)
def test_what_stays_is_newest_or_better_than_what_goes(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[float | None],
    best_k: int,
    keep_last: int,
) -> None:
    folder = tmp_path_factory.mktemp("run")
    for step, value in enumerate(values, start=1):
        bare(folder, step, value)
    checkpoint.retain(folder, metric=METRIC, best_k=best_k, keep_last=keep_last)
    steps, left = list(range(1, len(values) + 1)), kept(folder)
    assert left[-keep_last:] == steps[-keep_last:]
    assert len(left) <= keep_last + best_k
    ranked = {s: v for s, v in zip(steps, values, strict=True) if v is not None and v == v}
    gone = [ranked[step] for step in ranked if step not in left]
    extra = [step for step in left if step not in steps[-keep_last:]]
    assert all(ranked[step] <= value for step in extra for value in gone)
    assert len(set(extra) | {s for s in steps[-keep_last:] if s in ranked}) >= min(
        best_k, len(ranked)
    )
