"""The one rich console of the process."""

from __future__ import annotations

import functools
import os
import sys

from rich.console import Console

WIDTH = 100  # columns of a pipe or a file, where nobody can say


@functools.cache
def console() -> Console:
    """Return the shared console on stdout.

    Lines printed through it while the progress bar is alive land above the bar instead of
    through it. Colour follows ``NO_COLOR`` and whether stdout is a terminal (rich's own rules).
    """
    measured = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if measured else WIDTH)
