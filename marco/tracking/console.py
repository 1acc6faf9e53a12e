"""The one rich console of the process."""

from __future__ import annotations

import functools

from rich.console import Console


@functools.cache
def console() -> Console:
    """Return the shared console on stdout.

    Lines printed through it while the progress bar is alive land above the bar instead of
    through it. Colour follows ``NO_COLOR`` and whether stdout is a terminal (rich's own rules).
    """
    return Console(highlight=False)
