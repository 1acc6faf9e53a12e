"""A process that starts others: Ctrl-C and SIGTERM are theirs, each hears of it once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Relay:
    """Hands SIGINT and SIGTERM on to the children, each of which gets it once it listens.

    Both are blocked while children are started, which inherit that: what arrives while they still
    import waits for them. The thread takes what arrives here, and hands it to late children too.
    """

    def __init__(self) -> None:
        self.number = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._wait, daemon=True)

    def __enter__(self) -> Relay:
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
