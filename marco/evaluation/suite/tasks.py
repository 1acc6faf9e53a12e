"""The tasks that the names of a task set stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import filter as matching
from typing import Any

from lm_eval.tasks._index import Kind

from marco.errors import ConfigError, nearest
from marco.evaluation.suite.index import LEAVES, entry_of, full_index, own_index
from marco.evaluation.suite.task_set import TaskSet

_WILD = frozenset("*?[")

# What a group may say of a member without changing what is measured.
_OF_MEMBERS = frozenset({"group", "task", "task_alias"})

# What a group's YAML holds that is the group's own.
_OF_GROUPS = frozenset({"group", "group_alias", "tag", "task", "aggregate_metric_list", "metadata"})


def resolve(name: str, task_set: TaskSet, include_path: tuple[str, ...] = ()) -> list[str]:
    """Return the tasks that ``evaluation.tasks.<name>`` stands for, each once.

    In the order of its ``names``; what a group, a tag or a pattern stands for is sorted. Nothing is
    built and no network is touched; lm-eval's names are only looked at when marco's own and the
    user's don't have one.

    Raises:
        ConfigError: a name that nothing has, a pattern that nothing matches, or a group that
            changes its tasks (their shots, say), which a task's name alone cannot tell.
    """
    where = f"evaluation.tasks.{name}.names"
    found: dict[str, None] = {}
    for wanted in task_set.names:
        for leaf in _expanded(wanted, where, include_path):
            found.setdefault(leaf)
    return list(found)


def _expanded(wanted: str, where: str, include_path: tuple[str, ...]) -> list[str]:
    if entry_of(wanted, include_path) is not None:
        return sorted(set(_leaves(wanted, include_path, where)))
    # marco's own names begin alike, so that such a pattern needs no one else's.
    index = own_index(include_path) if wanted.startswith("marco_") else full_index(include_path)
    if not _WILD.intersection(wanted):
        raise ConfigError(f"{where}: there is no task '{wanted}'.{nearest(wanted, index)}")
    tasks = matching((n for n, entry in index.items() if entry.kind in LEAVES), wanted)
    heads = tasks or matching(index, wanted)
    if not heads:
        hint = nearest(wanted.replace("*", ""), index)
        raise ConfigError(f"{where}: no task matches '{wanted}'.{hint}")
    return sorted({leaf for head in heads for leaf in _leaves(head, include_path, where)})


def _leaves(name: str, include_path: tuple[str, ...], where: str) -> Iterator[str]:
    entry = entry_of(name, include_path)
    if entry is None:
        raise ConfigError(f"{where}: a group names the task '{name}', which is nowhere.")
    if entry.kind in LEAVES:
        yield name
    elif entry.kind is Kind.TAG:
        yield from entry.tags
    else:
        yield from _of_group(name, entry.cfg, include_path, where)


def _of_group(
    name: str, group: Mapping[str, Any], include_path: tuple[str, ...], where: str
) -> Iterator[str]:
    """Yield the tasks of a group, those of groups that it defines inside itself included."""
    _refuse(group.keys() - _OF_GROUPS, name, "its tasks", where)
    for member in _listed(group.get("task")):
        inner = str(member.get("task") or member.get("group"))
        if isinstance(member.get("task"), list):
            yield from _of_group(str(member.get("group")), member, include_path, where)
        else:
            _refuse(member.keys() - _OF_MEMBERS, name, inner, where)
            yield from _leaves(inner, include_path, where)


def _listed(members: object) -> Iterator[dict[str, Any]]:
    for member in members if isinstance(members, list) else [members]:
        yield member if isinstance(member, dict) else {"task": member}


def _refuse(changed: set[str], group: str, what: str, where: str) -> None:
    if changed:
        raise ConfigError(
            f"{where}: the group '{group}' changes {', '.join(sorted(changed))} of {what}; name "
            "its tasks and say that in the task set."
        )
