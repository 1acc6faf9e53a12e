"""Memory of this process that is its own: what it mapped from files can be dropped at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EVERY_SECONDS = 0.002


def anonymous_bytes() -> int:
    """Resident anonymous memory now (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


@contextmanager
def peak_above_start() -> Iterator[list[int]]:
    """Yield a list that holds, afterwards, how many bytes were in use at most, above the start."""
    start = anonymous_bytes()
    found = [0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY_SECONDS):
            found[0] = max(found[0], anonymous_bytes() - start)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
