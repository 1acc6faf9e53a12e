"""Dotted keys of a config tree, and the one a misspelt key was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

_CUTOFF = 0.6


def dotted_keys(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Yield every key of a nested mapping, inner nodes too: ``optimizer``, ``optimizer.lr``."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        yield name
        if isinstance(value, Mapping):
            yield from dotted_keys(value, f"{name}.")


def nearest_key(key: str, keys: Iterable[str]) -> str:
    """Return ``" Did you mean 'optimizer.lr'?"`` for ``optimzer.lr``, ``lr`` or ``optimizer.lrr``.

    A key whose last part is right but stands elsewhere in the tree wins over one that only looks
    alike as a whole: people forget the group more often than they misspell the name.
    """
    leaf = _leaf(key)
    scored: list[tuple[float, str]] = []
    for candidate in keys:
        if _leaf(candidate).startswith("_"):
            continue
        whole, last = _similar(key, candidate), _similar(leaf, _leaf(candidate))
        same_depth = key.count(".") == candidate.count(".")
        if last == 1.0:
            scored.append((1.0 + whole, candidate))
        elif whole >= _CUTOFF or (not same_depth and last >= 0.8):
            scored.append(((whole + last) / 2, candidate))
    if not scored:
        return ""
    best = max(scored, key=lambda item: (item[0], -len(item[1]), item[1]))
    return f" Did you mean '{best[1]}'?"


def _leaf(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _similar(left: str, right: str) -> float:
    fold = str.maketrans("-", "_")
    return SequenceMatcher(
        None, left.casefold().translate(fold), right.casefold().translate(fold)
    ).ratio()
