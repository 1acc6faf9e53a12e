"""One step as a process, which ends when the recipe does, and not before it has saved."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marco.errors import ConfigError
from marco.training.relay import SIGNALS

LOCK = ".lock"
#: Set for the steps: one that is gone on with is not the recipe itself.
STEP = "MARCO_RECIPE_STEP"
#: Seconds that a step of a recipe that was killed may take to save and end.
PATIENCE = 120.0
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold a recipe's folder and yield the lock's descriptor, which the steps inherit.

    So the lock is held until the last of them has ended, also where the recipe itself was killed.

    Raises:
        ConfigError: somebody else has it for longer than a killed run needs to save.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() - began > PATIENCE:
                    raise ConfigError(f"Another process is at work on {folder}.") from None
                time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)


def run_step(argv: list[str], lock: int) -> int:
    """Run a command to its end and return its exit code, 128 + n where signal n ended it.

    Ctrl-C and SIGTERM are handed on; a run that gets Ctrl-C from its terminal as well takes the two
    for one.
    """
    child = subprocess.Popen(
        argv, env={**os.environ, STEP: "1"}, pass_fds=(lock,), preexec_fn=_end_with_parent
    )
    received: list[int] = []

    def hand_on(number: int, frame: object) -> None:
        received.append(number)
        child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in SIGNALS}
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code < 0:
        return 128 - code
    return code or (128 + received[0] if received else 0)


def _end_with_parent() -> None:
    """Ask Linux for a SIGTERM when the recipe dies, upon which a run saves itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)
