"""Configs as flat keys: what differs between runs, and which runs differ by their seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marco.evaluation.compare.run import Group, Run

#: What a run of another seed may differ in: where things lie and what they are called.
SEED = "seed"
_ASIDE = ("seed", "name", "tags", "resume", "output")
_ASIDE_GROUPS = ("logger.", "paths.")


class _Absent:
    def __repr__(self) -> str:
        return "–"


#: Stands for a key that a run's config lacks.
ABSENT = _Absent()


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {dotted key: value} of a config's tree; an empty mapping is a value, a list too."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def as_text(value: Any) -> str:
    """Return a config's value as YAML would have it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return {key: its value in each run} of the keys that aren't alike in all; else `ABSENT`.

    A run without any config has no part in it.
    """
    known = [run.config for run in runs if run.config]
    keys = dict.fromkeys(key for config in known for key in config)
    return {
        key: [run.config.get(key, ABSENT) for run in runs]
        for key in keys
        if any(config.get(key, ABSENT) != known[0].get(key, ABSENT) for config in known)
    }


def by_seed(runs: Sequence[Run]) -> list[Group]:
    """Put runs together that differ by their seed alone, in the order of their first ones.

    Two runs of the same seed are no two draws: they stay apart, and so do runs without a config.
    """
    found: list[list[Run]] = []
    for run in runs:
        for group in found:
            if _same_setting(run, group[0]) and all(
                run.config[SEED] != other.config[SEED] for other in group
            ):
                group.append(run)
                break
        else:
            found.append([run])
    return [Group(_name(group), group) for group in found]


def _name(group: Sequence[Run]) -> str:
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return f"{group[0].name}{more}"


def _same_setting(one: Run, other: Run) -> bool:
    if SEED not in one.config or SEED not in other.config:
        return False
    return setting_of(one.config) == setting_of(other.config)


def setting_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a flat config that make its setting: not the seed, nor names and paths."""
    return {key: value for key, value in config.items() if is_of_setting(key)}


def is_of_setting(key: str) -> bool:
    """Return whether a key says what is trained, and not with which seed or under what name."""
    return key not in _ASIDE and not f"{key}.".startswith(_ASIDE_GROUPS)
