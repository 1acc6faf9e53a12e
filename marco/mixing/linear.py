"""Shares that move in straight lines from one mix to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

from marco.errors import ConfigError
from marco.mixing.nested import at, inside
from marco.mixing.rule import Rule, checked_sizes
from marco.mixing.schedule import Segment, average


@dataclass(frozen=True)
class Point:
    """A mix, and where in the run it holds.

    Attributes:
        at: fraction of the budget, from 0 to 1.
        mix: the rule; its budget is the whole run's.
    """

    at: float
    mix: Rule


@dataclass(frozen=True)
class Linear(Rule):
    """Every share moves linearly from each point to the next, and stays after the last.

    A budget that is raised on resume moves the points, and what is served from there on catches up
    with the new plan.

    Attributes:
        points: by name; the first is at 0, no two are at the same place.
    """

    points: dict[str, Point]

    over_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings that no data could make right."""
        super().__post_init__()
        if not self.points:
            raise ConfigError("mix.points: empty; give at least one point, at 0")
        for name, point in self.points.items():
            if not (math.isfinite(point.at) and 0 <= point.at <= 1):
                raise ConfigError(
                    f"mix.points.{name}.at={point.at}: a fraction of the budget, from 0 to 1"
                )
            if point.mix.over_time:
                raise ConfigError(
                    f"mix.points.{name}.mix: {type(point.mix).__name__} is a schedule itself; "
                    "a point needs a rule whose shares stay"
                )
        ordered = self._ordered()
        if ordered[0][1].at != 0:
            raise ConfigError(
                f"mix.points.{ordered[0][0]}.at={ordered[0][1].at}: the first point must be at 0"
            )
        for (one, before), (other, after) in pairwise(ordered):
            if before.at == after.at:
                raise ConfigError(f"mix.points: {one} and {other} are both at {after.at}")

    def check(self, languages: Sequence[str]) -> None:
        """See :meth:`Rule.check`; also checks each point's rule."""
        super().check(languages)
        for name, point in self.points.items():
            with inside(f"points.{name}.mix"):
                point.mix.check(languages)

    def check_budget(self, budget: int) -> None:
        """See :meth:`Rule.check_budget`; no two points may fall on the same token."""
        super().check_budget(budget)
        self._positions(budget)

    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """See :meth:`Rule.shares`: over the whole run."""
        return average(self.segments(sizes, budget))

    def segments(self, sizes: Mapping[str, int], budget: int) -> tuple[Segment, ...]:
        """See :meth:`Rule.segments`."""
        checked = checked_sizes(sizes)
        shares: list[dict[str, float]] = []
        for name, point in self._ordered():
            with inside(f"points.{name}.mix"):
                shares.append(point.mix.shares(checked, budget))
        positions = self._positions(budget)
        segments = [
            Segment("", end, first, last)
            for end, (first, last) in zip(positions[1:], pairwise(shares), strict=True)
        ]
        if positions[-1] < budget:
            segments.append(Segment("", budget, shares[-1], shares[-1]))
        return tuple(segments)

    def own_notes(self, sizes: Mapping[str, int]) -> list[str]:
        """Say what the points' rules say."""
        return [
            at(f"points.{name}.mix", note)
            for name, point in self._ordered()
            for note in point.mix.own_notes(sizes)
        ]

    def inner(self) -> Mapping[str, Rule]:
        """See :meth:`Rule.inner`."""
        return {f"points.{name}.mix": point.mix for name, point in self.points.items()}

    def _ordered(self) -> list[tuple[str, Point]]:
        return sorted(self.points.items(), key=lambda item: (item[1].at, item[0]))

    def _positions(self, budget: int) -> list[int]:
        """Return the token that each point is at."""
        ordered = self._ordered()
        # By its digits: 0.1 is a tenth, not the float next to it.
        positions = [math.floor(Fraction(str(point.at)) * budget) for _, point in ordered]
        for (one, _), (other, _), (before, after) in zip(
            ordered, ordered[1:], pairwise(positions), strict=False
        ):
            if before == after:
                raise ConfigError(
                    f"mix.points: {one} and {other} are at the same token of tokens={budget:,}"
                )
        return positions
