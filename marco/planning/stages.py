"""The stages of a run: tokens, steps, shares as they move, the learning rate's curve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from marco.config import RunSettings
from marco.mixing import MixSchedule, Segment
from marco.planning.groups import group_shares

POINTS = 40  # of a stage's learning-rate curve, besides the schedule's corners


def stages_of(
    run: RunSettings, schedule: MixSchedule, steps: int, total: int
) -> list[dict[str, Any]]:
    """The mix's stages, each with what it owes to every source; one where it has none.

    Segments of one name (a source that runs out ends one) are one stage. A stage's last step may
    belong to the next in part; it is counted where it begins.

    Args:
        steps: optimizer steps of the run.
        total: tokens that they serve. Padding makes these fewer than the steps have places; it is
            then taken to be spread evenly over the steps.
    """
    found: list[dict[str, Any]] = []
    start = step = 0
    for name, grouped in groupby(schedule.segments, key=lambda segment: segment.name):
        segments = list(grouped)
        end = min(segments[-1].end, total)
        if end <= start:
            break
        owed = {
            source: float(schedule.tokens(source, end) - schedule.tokens(source, start))
            for source in schedule.names
        }
        shares = {source: value / (end - start) for source, value in owed.items()}
        stop = -(-end * steps // total)
        found.append(
            {
                "name": name or run.name,
                "tokens": end - start,
                "steps": stop - step,
                "shares": group_shares(shares),
                "languages": {
                    source: {"tokens": round(owed[source]), "share": share}
                    for source, share in shares.items()
                },
                "mix": _curve(schedule, segments, start, end),
                "learning_rate": [
                    {"tokens": at * total // steps, "learning_rate": rate}
                    for at, rate in learning_rates(run, steps, step, stop)
                ],
            }
        )
        start, step = end, stop
    return found


def _curve(
    schedule: MixSchedule, segments: Iterable[Segment], start: int, end: int
) -> list[dict[str, Any]]:
    """The groups' shares, by tokens of the run: straight between every two points."""
    points: list[dict[str, Any]] = []
    for segment in segments:
        if start >= end:
            break
        stop = min(segment.end, end)
        last = segment.last if stop == segment.end else schedule.shares_at(stop)
        points += [
            {"tokens": at, "shares": group_shares(shares)}
            for at, shares in ((start, segment.first), (stop, last))
        ]
        start = stop
    return points


def learning_rates(run: RunSettings, steps: int, first: int, stop: int) -> list[tuple[int, float]]:
    """Steps from `first` to `stop` (exclusive) of `steps`, and their rates, as training sets them.

    The ends are among them, and the steps about the ends of warm-up and of a stable phase.
    """
    span = stop - 1 - first
    at = {first + round(point * span / POINTS) for point in range(POINTS + 1)}
    corners = (getattr(run.schedule, "warmup", 0.0), 1 - getattr(run.schedule, "decay", 0.0))
    at |= {step for part in corners for step in (math.floor(part * steps), math.ceil(part * steps))}
    return [
        (step, run.optimizer.lr * run.schedule.factor((step + 0.5) / steps))
        for step in sorted(at)
        if first <= step < stop
    ]
