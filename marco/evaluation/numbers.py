"""Numbers as people read them in tables and on axes."""

from __future__ import annotations


def short(count: float) -> str:
    """Return a count in at most five characters: 0, 950, 1.25k, 48.3k, 1.5M, 300B."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size * 0.99995:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"
