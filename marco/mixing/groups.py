"""A share per group of sources, times any rule inside the group."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from marco.errors import ConfigError
from marco.languages import GROUPS
from marco.mixing.nested import at, inside
from marco.mixing.rule import Rule, checked_sizes
from marco.mixing.rules import Uniform
from marco.mixing.sources import resolve, resource_group


@dataclass(frozen=True)
class GroupShare:
    """One group: its share of the budget, who is in it, and the rule that splits it further.

    Attributes:
        share: part of the whole budget, from 0 to 1.
        members: languages (any alias), other sources, or resource groups of the language registry
            (``english``, ``chinese``, ``high``, ``low``). None: what the group's own name says.
        within: the rule inside the group; its budget is the group's part.
    """

    share: float
    members: list[str] | None = None
    within: Rule = field(default_factory=Uniform)


@dataclass(frozen=True)
class _Placement:
    """Who is in which group, and who was named but has no data."""

    members: dict[str, list[str]]
    without_data: dict[str, list[str]]


@dataclass(frozen=True)
class Groups(Rule):
    """Marco-LLM's mix (2412.04003, tables 2 and 3): group shares × a rule inside each group.

    A language that one group lists by its code belongs there, even if another group takes the
    language's whole resource group. Every source must belong to exactly one group.

    Attributes:
        groups: the groups by name; their shares add up to 1.
        absent: what happens to a group, or a listed member, without data: ``error`` stops, and
            ``renormalise`` scales the other groups (or members) up, see :meth:`notes`.
    """

    groups: dict[str, GroupShare]
    absent: Literal["error", "renormalise"] = "error"

    def __post_init__(self) -> None:
        """Refuse settings that no data could make right."""
        super().__post_init__()
        if not self.groups:
            raise ConfigError("mix.groups: empty; give at least one group a share")
        if self.absent not in ("error", "renormalise"):
            raise ConfigError(f"mix.absent={self.absent}: must be 'error' or 'renormalise'")
        for name, group in self.groups.items():
            _check_group(name, group)
        total = math.fsum(group.share for group in self.groups.values())
        # Wide enough for thirds written with six digits, far too narrow to hide a mistake.
        if abs(total - 1) > 1e-5:
            listed = ", ".join(f"{name} {group.share:g}" for name, group in self.groups.items())
            raise ConfigError(
                f"mix.groups: the shares must add up to 1, not {total:g} ({listed}); "
                "when you change one, change another"
            )

    def check(self, languages: Sequence[str]) -> None:
        """See :meth:`Rule.check`; also checks each group's rule against the group's members."""
        super().check(languages)
        placement = self._placed(languages)
        self._scale(placement)
        for name, members in placement.members.items():
            if members:
                with inside(f"groups.{name}.within"):
                    self.groups[name].within.check(members)

    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """See :meth:`Rule.shares`."""
        checked = checked_sizes(sizes)
        placement = self._placed(checked)
        scale = self._scale(placement)
        result: dict[str, float] = {}
        for name, members in placement.members.items():
            part = self.groups[name].share * scale
            if part == 0:
                result |= dict.fromkeys(members, 0.0)
            elif members:
                held = {source: checked[source] for source in members}
                # A hair above the whole (shares written as 0.333334) must not fail a cap.
                group_budget = max(1, min(budget, math.floor(part * budget)))
                with inside(f"groups.{name}.within"):
                    split = self.groups[name].within.shares(held, group_budget)
                result |= {source: part * share for source, share in split.items()}
        return {source: result[source] for source in checked}

    def inner(self) -> Mapping[str, Rule]:
        """See :meth:`Rule.inner`."""
        return {f"groups.{name}.within": group.within for name, group in self.groups.items()}

    def own_notes(self, sizes: Mapping[str, int]) -> list[str]:
        """Say which groups and members have no data, and who got their share."""
        placement = self._placed(sizes)
        scale = self._scale(placement)
        notes = []
        empty = [name for name, members in placement.members.items() if not members]
        freed = math.fsum(self.groups[name].share for name in empty)
        if freed > 0:
            absent = ", ".join(f"{name} ({self.groups[name].share:.1%})" for name in empty)
            left = [name for name, members in placement.members.items() if members]
            now = ", ".join(f"{name} {self.groups[name].share * scale:.1%}" for name in left)
            notes.append(
                f"mix: no data for {absent}; that {freed:.1%} of the budget went to the other "
                f"groups in proportion, which now have: {now}"
            )
        for name, missing in placement.without_data.items():
            if placement.members[name] and missing:
                notes.append(
                    f"mix: no data for {', '.join(missing)} of group '{name}'; "
                    "its other members share what the group has"
                )
        for name, members in placement.members.items():
            if members:
                held = {source: sizes[source] for source in members}
                inner = self.groups[name].within.own_notes(held)
                notes += [at(f"groups.{name}.within", note) for note in inner]
        return notes

    def _placed(self, sources: Collection[str]) -> _Placement:
        """Put every source into its group; under ``absent=error``, refuse groups without data."""
        listed: dict[str, str] = {}  # source -> group, by its own name
        resource: dict[str, str] = {}  # resource group -> group
        for name, group in self.groups.items():
            for entry in [name] if group.members is None else group.members:
                where = f"mix.groups.{name}" + ("" if group.members is None else ".members")
                taken = resource if entry in GROUPS else listed
                key = entry if entry in GROUPS else resolve(entry, sources, where)
                if key in taken:
                    raise ConfigError(
                        f"{where}: '{entry}' is already in group '{taken[key]}'; "
                        "a source belongs to one group"
                    )
                taken[key] = name

        members: dict[str, list[str]] = {name: [] for name in self.groups}
        homeless = []
        for source in sources:
            home = listed.get(source) or resource.get(resource_group(source) or "")
            if home is None:
                homeless.append(source)
            else:
                members[home].append(source)
        if homeless:
            raise ConfigError(
                f"mix.groups: no group takes {', '.join(homeless)}; name them in a group's members"
            )
        without_data: dict[str, list[str]] = {name: [] for name in self.groups}
        for source, name in listed.items():
            if source not in sources:
                without_data[name].append(source)
        if self.absent == "error":
            missing = [
                f"group '{name}'" + (f" ({', '.join(without_data[name])})" if members[name] else "")
                for name in self.groups
                if self.groups[name].share > 0 and (without_data[name] or not members[name])
            ]
            if missing:
                raise ConfigError(
                    f"mix.groups: the data has nothing for {', '.join(missing)}; "
                    "mix.absent=renormalise gives that share to the others"
                )
        return _Placement(members, without_data)

    def _scale(self, placement: _Placement) -> float:
        """Return the factor that makes the shares of the groups with data add up to one."""
        total = math.fsum(
            self.groups[name].share for name, held in placement.members.items() if held
        )
        if total == 0:
            raise ConfigError("mix.groups: every group that has data has share 0")
        return 1 / total


def _check_group(name: str, group: GroupShare) -> None:
    where = f"mix.groups.{name}"
    if not (math.isfinite(group.share) and 0 <= group.share <= 1):
        raise ConfigError(
            f"{where}.share={group.share}: must be from 0 to 1, the group's part of the budget"
        )
    if group.members is not None and not group.members:
        raise ConfigError(f"{where}.members=[]: name at least one language, or drop the key")
