"""Stages that follow each other: each with its own mix, sources, and replay of an earlier one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from marco.errors import ConfigError
from marco.mixing.nested import at, inside
from marco.mixing.rule import Rule, checked_sizes
from marco.mixing.schedule import Segment, average
from marco.mixing.sources import listed
from marco.mixing.stage import Stage, check_stage


@dataclass(frozen=True)
class Stages(Rule):
    """A mix for each part of the run, in the order of the table.

    A budget that is raised on resume goes to the stage without tokens: where that is the last, the
    run goes on exactly. Ends given as fractions move with the budget, and what is served from
    there on catches up with the new plan. Whole tokens that fill the old budget are refused.

    Attributes:
        stages: the stages by name, first to last.
    """

    stages: dict[str, Stage]

    over_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings that no data could make right."""
        super().__post_init__()
        if not self.stages:
            raise ConfigError("mix.stages: empty; give at least one stage")
        names = list(self.stages)
        for number, (name, stage) in enumerate(self.stages.items()):
            check_stage(name, stage, names[:number])
        open_ended = [name for name, stage in self.stages.items() if stage.tokens is None]
        if len(open_ended) > 1:
            raise ConfigError(
                f"mix.stages: {' and '.join(open_ended)} have no tokens; only one stage can take "
                "what the others leave"
            )

    def check(self, languages: Sequence[str]) -> None:
        """See :meth:`Rule.check`; also checks each stage's rule against the stage's sources."""
        super().check(languages)
        for name in self.stages:
            with inside(f"stages.{name}.mix"):
                self.stages[name].mix.check(self._sources(name, languages))

    def check_budget(self, budget: int) -> None:
        """See :meth:`Rule.check_budget`; the stages must fill it."""
        super().check_budget(budget)
        self._ends(budget)

    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """See :meth:`Rule.shares`: over all stages together."""
        return average(self.segments(sizes, budget))

    def segments(self, sizes: Mapping[str, int], budget: int) -> tuple[Segment, ...]:
        """See :meth:`Rule.segments`."""
        checked = checked_sizes(sizes)
        result: list[Segment] = []
        served: dict[str, dict[str, float]] = {}  # stage -> its average shares
        start = 0
        before = ""
        for (name, stage), end in zip(self.stages.items(), self._ends(budget), strict=True):
            held = {source: checked[source] for source in self._sources(name, checked)}
            with inside(f"stages.{name}.mix"):
                own = stage.mix.segments(held, end - start)
            earlier = served.get(stage.replay_of or before, {})
            segments = [_placed(name, each, start, stage, earlier, checked) for each in own]
            result += segments
            served[name] = average(segments, start)
            start, before = end, name
        return tuple(result)

    def own_notes(self, sizes: Mapping[str, int]) -> list[str]:
        """Say what the stages' rules say, and which sources no stage uses."""
        notes: list[str] = []
        used: set[str] = set()
        for name, stage in self.stages.items():
            sources = self._sources(name, list(sizes))
            used.update(sources)
            inner = stage.mix.own_notes({source: sizes[source] for source in sources})
            notes += [at(f"stages.{name}.mix", note) for note in inner]
        unused = [source for source in sizes if source not in used]
        if unused:
            notes.append(f"mix.stages: no stage uses {', '.join(unused)}")
        return notes

    def inner(self) -> Mapping[str, Rule]:
        """See :meth:`Rule.inner`."""
        return {f"stages.{name}.mix": stage.mix for name, stage in self.stages.items()}

    def _sources(self, name: str, present: Sequence[str] | Mapping[str, int]) -> list[str]:
        """Return the sources of the data that a stage's rule sees, in the data's order."""
        entries = self.stages[name].sources
        if entries is None:
            return list(present)
        return listed(entries, present, f"mix.stages.{name}.sources")

    def _ends(self, budget: int) -> list[int]:
        """Return the token at which each stage ends."""
        parts = {
            name: _tokens(stage.tokens, budget)
            for name, stage in self.stages.items()
            if stage.tokens is not None
        }
        left = budget - sum(parts.values(), Fraction(0))
        whole = all(isinstance(stage.tokens, int) for stage in self.stages.values())
        # Thirds written with six digits leave something, or take it.
        slack = Fraction(0 if whole else budget, 10**5)
        if len(parts) == len(self.stages) and abs(left) > slack:
            raise ConfigError(
                f"mix.stages: together {float(budget - left):,.0f} tokens, but the budget is "
                f"tokens={budget:,}; change one of them, or set a stage's tokens to null: it takes "
                "what the others leave"
            )
        ends: list[int] = []
        total = Fraction(0)
        for name in self.stages:
            total += parts.get(name, left)
            ends.append(math.floor(total))
        ends[-1] = budget
        for name, start, end in zip(self.stages, [0, *ends], ends, strict=False):
            if end <= start:
                raise ConfigError(
                    f"mix.stages.{name}: nothing of tokens={budget:,} is left for this stage"
                )
        return ends


def _tokens(tokens: int | float, budget: int) -> Fraction:
    # By its digits: 0.1 is a tenth, not the float next to it.
    return Fraction(tokens) if isinstance(tokens, int) else Fraction(str(tokens)) * budget


def _placed(
    name: str,
    segment: Segment,
    start: int,
    stage: Stage,
    earlier: Mapping[str, float],
    sources: Mapping[str, int],
) -> Segment:
    """Put a segment of a stage's rule into the run: after ``start``, all sources, replay added."""

    def mixed(shares: Mapping[str, float]) -> dict[str, float]:
        own = {source: shares.get(source, 0.0) for source in sources}
        if not stage.replay:
            return own
        part = stage.replay
        return {source: (1 - part) * own[source] + part * earlier[source] for source in sources}

    return replace(
        segment,
        name=f"{name}.{segment.name}" if segment.name else name,
        end=start + segment.end,
        first=mixed(segment.first),
        last=mixed(segment.last),
    )
