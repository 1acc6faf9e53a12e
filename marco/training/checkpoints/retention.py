"""Which checkpoints to keep: the newest, the best by a metric, within a disk budget."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

from marco.errors import CheckpointError
from marco.training.checkpoints.files import read_json, replace_json
from marco.training.checkpoints.folder import (
    CheckpointWarning,
    checkpoints,
    point_last,
    remove,
    size_on_disk,
)
from marco.training.checkpoints.manifest import problems_of_files, read_manifest
from marco.training.checkpoints.ranks import CheckpointWriteError, rank

METRICS = "metrics.json"


def attach_metrics(path: Path, metrics: Mapping[str, float]) -> None:
    """Note what was measured at a checkpoint, beside its hashed files (process 0; atomic).

    Evaluation at a step usually ends after the checkpoint of that step was written. Metrics noted
    before stay unless named again. Raises `CheckpointWriteError`.
    """
    if rank() != 0:
        return
    try:
        replace_json(path / METRICS, {**metrics_of(path), **metrics})
    except OSError as error:
        raise CheckpointWriteError(f"{path / METRICS} cannot be written: {error}") from error


def metrics_of(path: Path) -> dict[str, float]:
    """Return what was attached to the checkpoint ``path``; nothing when that cannot be read."""
    if not (path / METRICS).exists():
        return {}
    try:
        read = read_json(path / METRICS)
    except CheckpointError as error:
        warnings.warn(f"{error}; its metrics are ignored", CheckpointWarning, stacklevel=2)
        return {}
    items = read.items() if isinstance(read, dict) else ()
    return {str(key): float(value) for key, value in items if isinstance(value, (int, float))}


def retain(
    folder: Path,
    *,
    metric: str | None = None,
    best_k: int = 0,
    lower_is_better: bool = True,
    keep_last: int = 1,
    disk_budget_gb: float | None = None,
) -> list[Path]:
    """Remove checkpoints from ``folder`` and return those removed (process 0; others do nothing).

    Kept: the newest ``keep_last`` and the ``best_k`` by ``metric`` as attached (a checkpoint
    without it, or with NaN, is not among the best). When these take more than ``disk_budget_gb``
    (1 GB = 10^9 bytes) the worst of the best go first, then the older of the newest. The newest
    sound checkpoint always stays. Sound means here: manifest intact, files there with their sizes;
    hashes are not read, so ``keep_last=2`` is what protects from a disk that flips bits.
    While the next one is written the disk holds one more than the budget.
    """
    if rank() != 0:
        return []
    if keep_last < 1 or best_k < 0:
        raise ValueError(f"keep_last={keep_last} must be at least 1, best_k={best_k} at least 0")
    there = checkpoints(folder)
    sound = [step for step in there if not _unsound(there[step])]
    if not sound:
        return []
    newest = list(reversed(sound))[:keep_last]
    values = (
        {step: metrics_of(there[step]).get(metric, math.nan) for step in sound} if metric else {}
    )
    ranked = sorted(
        (step for step, value in values.items() if not math.isnan(value)),
        # Of equals, the later one: it has seen more data.
        key=lambda step: (values[step] if lower_is_better else -values[step], -step),
    )
    # What is given up first stands last.
    keep = newest + [step for step in ranked[:best_k] if step not in newest]
    if disk_budget_gb is not None:
        keep = _within(keep, {step: size_on_disk(there[step]) for step in keep}, disk_budget_gb)
    return _remove_all(folder, [path for step, path in there.items() if step not in keep])


def discard_after(folder: Path, step: int) -> list[Path]:
    """Remove the checkpoints of later steps and return them (process 0; others do nothing).

    For a run that went back to ``step`` on purpose: what it left behind must not be found by
    `latest` when the run is resumed.
    """
    if rank() != 0:
        return []
    later = [path for number, path in checkpoints(folder).items() if number > step]
    return _remove_all(folder, later)


def _remove_all(folder: Path, paths: list[Path]) -> list[Path]:
    removed = []
    for path in paths:
        try:
            remove(path)
        except OSError as error:
            warnings.warn(f"{path} cannot be removed: {error}", CheckpointWarning, stacklevel=3)
        else:
            removed.append(path)
    point_last(folder)
    return removed


def _within(keep: list[int], sizes: dict[int, int], budget_gb: float) -> list[int]:
    keep = list(keep)
    while len(keep) > 1 and sum(sizes[step] for step in keep) > budget_gb * 1e9:
        keep.pop()
    if (used := sum(sizes[step] for step in keep)) > budget_gb * 1e9:
        warnings.warn(
            f"one checkpoint takes {used / 1e9:.3g} GB, more than the disk budget of "
            f"{budget_gb:g} GB; the newest is kept all the same",
            CheckpointWarning,
            stacklevel=3,
        )
    return keep


def _unsound(path: Path) -> bool:
    try:
        manifest = read_manifest(path)
    except CheckpointError as error:
        warnings.warn(f"{error}; it counts as no checkpoint", CheckpointWarning, stacklevel=3)
        return True
    problems = problems_of_files(path, manifest, hashes=False)
    if problems:
        warnings.warn(
            f"{path} is damaged ({'; '.join(problems)}); it counts as no checkpoint",
            CheckpointWarning,
            stacklevel=3,
        )
    return bool(problems)
