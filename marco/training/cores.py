"""The CPU cores of this process."""

from __future__ import annotations

import os

CORES = "MARCO_CORES"
"""Environment variable: how many a run has, where several runs share the machine."""


def cores_each(processes: int) -> int:
    """CPU cores of this machine that are ours, shared out evenly over so many processes."""
    given = os.environ.get(CORES, "")
    if given.isdecimal():
        return max(1, int(given) // processes)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // processes)
