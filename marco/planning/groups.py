"""The resource groups of a plan: what its languages are together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from marco.mixing.sources import resource_group


def group_of(source: str) -> str:
    """Return a language's resource group; a source that is no language is its own group."""
    return resource_group(source) or source


def group_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Add up the shares of each group."""
    groups: dict[str, list[float]] = {}
    for source, share in shares.items():
        groups.setdefault(group_of(source), []).append(share)
    return {group: math.fsum(parts) for group, parts in groups.items()}


def groups_of(languages: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Sum up the plan's languages: fertility and truncation are means over the tokens served.

    `repeats` is that of the language that begins anew most often; None is what nobody knows.
    """
    members: dict[str, list[Mapping[str, Any]]] = {}
    for source, one in languages.items():
        members.setdefault(group_of(source), []).append(one)
    found = {}
    for group, those in members.items():
        tokens, size = (sum(one[key] for one in those) for key in ("tokens", "size"))
        places = math.fsum(one["tokens"] / one["fill"] for one in those)
        found[group] = {
            "tokens": tokens,
            "share": math.fsum(one["share"] for one in those),
            "size": size,
            "epochs": tokens / size,
            "repeats": max(one["repeats"] for one in those),
            "fertility": _mean(those, "fertility"),
            "truncated": _mean(those, "truncated"),
            "fill": tokens / places if places else 1.0,
        }
    return found


def _mean(those: Iterable[Mapping[str, Any]], key: str) -> float | None:
    known = [(one[key], one["tokens"]) for one in those if one[key] is not None and one["tokens"]]
    total = sum(tokens for _, tokens in known)
    return math.fsum(value * tokens for value, tokens in known) / total if known else None
