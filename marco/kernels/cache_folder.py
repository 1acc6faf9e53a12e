"""Where what was compiled and measured on this machine is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$MARCO_CACHE`, or `~/.cache/marco`; need not exist."""
    configured = os.environ.get("MARCO_CACHE")
    if configured:
        return Path(configured).expanduser()
    return Path(os.path.expanduser("~")) / ".cache" / "marco"  # noqa: PTH111 - never raises
