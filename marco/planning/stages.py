"""The stages of a run: tokens, steps, the share of every group, the learning rate's curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from marco.config import RunSettings
from marco.mixing import MixSchedule
from marco.mixing.sources import resource_group

POINTS = 40  # of a learning-rate curve, besides the end of its warm-up


def stages_of(run: RunSettings, schedule: MixSchedule, steps: int) -> list[dict[str, Any]]:
    """The mix's stages, each with what it serves of every group; one where it has none.

    Segments of one name (a source that runs out ends one) are one stage. A stage's last step may
    belong to the next in part; it is counted where it begins.
    """
    found: list[dict[str, Any]] = []
    rates = learning_rates(run, steps)
    start = 0
    for name, segments in groupby(schedule.segments, key=lambda segment: segment.name):
        end = min(list(segments)[-1].end, steps * run.batch.tokens)
        if end <= start:
            break
        owed = {
            source: float(schedule.tokens(source, end) - schedule.tokens(source, start))
            for source in schedule.names
        }
        found.append(
            {
                "name": name or run.name,
                "tokens": end - start,
                "steps": -(-end // run.batch.tokens) - -(-start // run.batch.tokens),
                "shares": group_shares({key: value / (end - start) for key, value in owed.items()}),
                "learning_rate": [point for point in rates if start <= point["tokens"] < end],
            }
        )
        start = end
    return found


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
