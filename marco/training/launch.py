"""One process tree per job: a run on several devices starts its own workers, and ends them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import uuid
from collections.abc import Callable
from multiprocessing.synchronize import Semaphore
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from marco.errors import MarcoError
from marco.training.cores import cores_each
from marco.training.relay import SIGNALS, Relay

log = logging.getLogger(__name__)


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
    first = multiprocessing.get_context("spawn").Semaphore(1)
    with Relay() as relay:
        try:
            codes: dict[int, int] = elastic_launch(config, _worker)(work, folder, first)
        except ChildFailedError as error:
            if any(f.exitcode == -relay.number for f in error.failures.values() if relay.number):
                raise KeyboardInterrupt(relay.number) from None
            for rank, failure in error.failures.items():
                if failure.exitcode < 0:
                    name = signal.Signals(-failure.exitcode).name
                    log.error("error: process %d of the run was ended by %s", rank, name)
            return 1
    return codes[0]


def _worker(work: Callable[[Path], int], folder: Path, first: Semaphore) -> int:
    """One child. A failure must end the process, or the others would wait for it for ever.

    An error of all of them is said by one of them. Until training listens, a signal ends it.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        code = work(folder)
    except MarcoError as error:
        if first.acquire(block=False):
            log.error("error: %s", error)
        code = 1
    if code and code - 128 not in SIGNALS:
        raise SystemExit(code)
    return code
