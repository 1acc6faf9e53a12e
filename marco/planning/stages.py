"""The stages of a run: tokens, steps, the share of every group, the learning rate's curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from marco.config import RunSettings
from marco.mixing.sources import resource_group

POINTS = 40  # of a learning-rate curve, besides the end of its warm-up


def stages_of(run: RunSettings, shares: Mapping[str, float], steps: int) -> list[dict[str, Any]]:
    """One stage: the mixes there are so far are constant."""
    return [
        {
            "name": run.name,
            "tokens": steps * run.batch.tokens,
            "steps": steps,
            "shares": group_shares(shares),
            "learning_rate": learning_rates(run, steps),
        }
    ]


def group_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Add up the shares of each resource group; a source that is no language is its own group."""
    groups: dict[str, list[float]] = {}
    for source, share in shares.items():
        groups.setdefault(resource_group(source) or source, []).append(share)
    return {group: math.fsum(parts) for group, parts in groups.items()}


def learning_rates(run: RunSettings, steps: int) -> list[dict[str, float]]:
    """The learning rate over tokens, at each step's middle, as training sets it."""
    warmup = getattr(run.schedule, "warmup", 0.0)
    at = {round(point * (steps - 1) / POINTS) for point in range(POINTS + 1)}
    at |= {step for step in (math.floor(warmup * steps), math.ceil(warmup * steps)) if step < steps}
    return [
        {
            "tokens": step * run.batch.tokens,
            "learning_rate": run.optimizer.lr * run.schedule.factor((step + 0.5) / steps),
        }
        for step in sorted(at)
    ]
