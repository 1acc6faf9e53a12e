"""Several processes that answer the same tasks together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch.distributed as dist

from marco.errors import DataError
from marco.evaluation.harness.prepared import PreparedTask


def in_step() -> bool:
    """Whether other processes do the same at this moment."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def agreed(tasks: Sequence[PreparedTask]) -> Sequence[PreparedTask]:
    """Return the tasks with those failed that any process could not prepare (the hub was away)."""
    if not in_step():
        return tasks
    mine = {task.name: str(task.failure) for task in tasks if task.failure is not None}
    found: list[dict[str, str]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(found, mine)
    failures = {name: reason for rank in found for name, reason in rank.items()}
    missing = {
        name: DataError(f"another process could not prepare it: {reason}")
        for name, reason in failures.items()
        if name not in mine
    }
    return [
        replace(task, failure=missing[task.name]) if task.name in missing else task
        for task in tasks
    ]
