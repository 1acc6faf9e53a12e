"""One process tree per job: a run on several devices starts its own workers, and ends them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import uuid
from collections.abc import Callable
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from types import FrameType

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from marco.errors import MarcoError
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
    first = multiprocessing.get_context("spawn").Semaphore(1)
    with _Relay() as relay:
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


class _Relay:
    """Hands SIGINT and SIGTERM on to the children, each of which gets it once it listens.

    Both are blocked while children are started, which inherit that: what arrives while they still
    import waits for them. The thread takes what arrives here, and hands it to late children too.
    """

    def __init__(self) -> None:
        self.number = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._wait, daemon=True)

    def __enter__(self) -> _Relay:
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _wait(self) -> None:
        told: set[int] = set()
        while not self._ended.is_set():
            received = signal.sigtimedwait(SIGNALS, 0.1)
            if received is not None:
                self.number, told = received.si_signo, set()
            for child in multiprocessing.active_children() if self.number else []:
                if child.pid is not None and child.pid not in told:
                    told.add(child.pid)
                    os.kill(child.pid, self.number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Called where a thread of a library did not block it: send it to the one that waits."""
        if self._thread.ident is not None:
            signal.pthread_kill(self._thread.ident, number)


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
