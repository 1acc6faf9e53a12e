"""One process tree per job: a run on several devices starts its own workers, and ends them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from marco.training.interrupts import SIGNALS

log = logging.getLogger(__name__)


def cores_each(processes: int) -> int:
    """CPU cores of this machine that are ours, shared out evenly over so many processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // processes)


def launch(work: Callable[[Path], int], folder: Path, devices: int) -> int:
    """Run `work(folder)` in `devices` processes of this machine and return the exit code.

    Lightning's own launcher runs the command line again in every child, `-m` and Hydra's folders
    included; here a child gets the run folder, whose config says everything. When one process
    fails the others are ended. Ctrl-C and SIGTERM are handed on: the children save and stop
    by themselves, in their own time (torch's launcher would end them after 30 s).
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
        signals_to_handle="SIGHUP,SIGQUIT",
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it ourselves
    before = {number: signal.signal(number, _hand_on) for number in SIGNALS}
    try:
        codes: dict[int, int] = elastic_launch(config, _worker)(work, folder)
    except ChildFailedError as error:
        for rank, failure in error.failures.items():
            if failure.exitcode < 0:
                name = signal.Signals(-failure.exitcode).name
                log.error("error: process %d of the run was ended by %s", rank, name)
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return codes[0]


def _worker(work: Callable[[Path], int], folder: Path) -> int:
    """One child. A failure must end the process, or the others would wait for it for ever."""
    code = work(folder)
    if code and code - 128 not in SIGNALS:
        raise SystemExit(code)
    return code


def _hand_on(number: int, frame: FrameType | None) -> None:
    for child in multiprocessing.active_children():
        if child.pid is not None:
            os.kill(child.pid, number)
