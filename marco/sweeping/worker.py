"""A process that makes one run of a sweep after another, beside others on the same terminal."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from marco.training.cores import CORES
from marco.training.relay import SIGNALS

OUTPUT = "output.txt"

_stopped = 0
_busy = False
_listening = False


def stopped() -> int:
    """Return the signal that ended this process' last run, or came between two; or 0."""
    return _stopped


def stop(number: int) -> None:
    """Make no more runs."""
    global _stopped
    _stopped = number


@contextmanager
def at_work() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end what is done here, by KeyboardInterrupt, once.

    What comes in between two runs is remembered for `stopped`. The process was started with both
    blocked, so that none is lost, or ends the process, while it still imports.
    """
    global _busy, _listening
    _busy = True
    try:
        if not _listening:
            for number in SIGNALS:
                signal.signal(number, _receive)
            _listening = True
            # A process started here would look for loky's way of starting one, and not find it.
            multiprocessing.set_start_method("spawn", force=True)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        yield
    finally:
        _busy = False


@contextmanager
def output_into(folder: Path) -> Iterator[Callable[[str], None]]:
    """Write what is shown meanwhile into `output.txt`, by child processes too.

    Yields a function that prints a line where output went before.
    """
    _flush()
    before = [os.dup(number) for number in (1, 2)]
    written = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for number in (1, 2):
        os.dup2(written, number)
    os.close(written)
    try:
        yield lambda line: _write(before[0], line)
    finally:
        _flush()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
            os.close(kept)


def use_own_cores() -> None:
    """Let threads be counted from this run's share of the cores, for its own processes too."""
    if CORES in os.environ:
        os.environ.pop("OMP_NUM_THREADS", None)  # joblib's, of one process


def _receive(number: int, frame: FrameType | None) -> None:
    global _stopped
    first = not _stopped
    _stopped = number
    if _busy and first:
        raise KeyboardInterrupt(number)


def _write(descriptor: int, line: str) -> None:
    with suppress(OSError):  # nobody reads any more
        os.write(descriptor, f"{line}\n".encode())  # in one piece, whoever else writes


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
