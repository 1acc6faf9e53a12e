"""One process tree per job: a run on several devices starts its own workers, and ends them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def cores_each(processes: int) -> int:
    """CPU cores of this machine that are ours, shared out evenly over so many processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // processes)


def launch(work: Callable[[Path], int], folder: Path, devices: int) -> int:
    """Run `work(folder)` in `devices` processes of this machine and return the exit code.

    Lightning's own launcher runs the command line again in every child, `-m` and Hydra's folders
    included; here a child gets the run folder, whose config says everything. When one process
    fails the others are ended.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(cores_each(devices)))  # torch's launcher says 1
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
        start_method="spawn",
    )
    try:
        codes: dict[int, int] = elastic_launch(config, work)(folder)
    except ChildFailedError as error:
        return max((failure.exitcode for failure in error.failures.values()), default=1)
    return max(codes.values())
