"""The names of all tasks: marco's own and a user's, found at once; lm-eval's, from a small cache.

lm-eval parses 15,000 YAML files to learn its 13,000 task names (6 s of one core). The names alone
are kept in marco's cache folder until a file of lm-eval's changes (0.3 s from then on);
what is in a task's YAML is read when it is wanted. Nothing here builds a task or opens a data set.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import lm_eval.tasks
import yaml
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Entry, Kind, TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml

from marco.errors import ConfigError
from marco.tokenizers.cache import cached

#: marco's own tasks, in lm-eval's format.
OWN_TASKS = Path(__file__).parent.parent / "tasks"

#: What is a task itself, in place of a group or a tag that stands for tasks.
LEAVES = frozenset({Kind.TASK, Kind.PY_TASK})

Index = Mapping[str, Entry]


class Manager(TaskManager):  # type: ignore[misc]
    """lm-eval's task manager over an index that is there already."""

    def __init__(self, index: Index) -> None:
        super().__init__(include_defaults=False)
        self._index = dict(index)
        self._all_tasks = sorted(self._index)
        self._all_subtasks = sorted(n for n, entry in index.items() if entry.kind in LEAVES)
        self._all_groups = sorted(n for n, entry in index.items() if entry.kind is Kind.GROUP)
        self._all_tags = sorted(n for n, entry in index.items() if entry.kind is Kind.TAG)


def task_manager(include_path: tuple[str, ...] = ()) -> TaskManager:
    """Return lm-eval's TaskManager over its own tasks, marco's, and those under ``include_path``.

    Made once per process and ``include_path``. Where two have a name, the later one counts.

    Raises:
        ConfigError: a folder that is not there, or a YAML in it that cannot be read.
    """
    return _manager(include_path, True)


def manager_of(leaf: str, include_path: tuple[str, ...] = ()) -> TaskManager:
    """Return a manager that knows ``leaf``; lm-eval's names are only loaded where it needs them."""
    return _manager(include_path, leaf not in own_index(include_path))


@lru_cache(maxsize=8)
def _manager(include_path: tuple[str, ...], everything: bool) -> TaskManager:
    return Manager(full_index(include_path) if everything else own_index(include_path))


def entry_of(name: str, include_path: tuple[str, ...] = ()) -> Entry | None:
    """Return what ``name`` stands for, or None; lm-eval's names are only looked at if need be."""
    own = own_index(include_path).get(name)
    # A tag is shared: lm-eval may have tasks with it too.
    if name.startswith("marco_") or (own is not None and own.kind is not Kind.TAG):
        return own
    return full_index(include_path).get(name)


@lru_cache(maxsize=8)
def full_index(include_path: tuple[str, ...] = ()) -> Index:
    """Return lm-eval's tasks, marco's own and those under ``include_path``, by name."""
    return _joined(lm_eval_index(), own_index(include_path))


@lru_cache(maxsize=8)
def own_index(include_path: tuple[str, ...] = ()) -> Index:
    """Return marco's own tasks and those under ``include_path``, by name."""
    index: Index = {}
    for root in (OWN_TASKS, *map(Path, include_path)):
        if root is not OWN_TASKS and not root.is_dir():
            raise ConfigError(f"evaluation.include_path: there is no folder '{root}'.")
        found: dict[str, Entry] = {}
        for path in sorted(root.rglob("*.yaml")):
            config = _read(path)
            if {"task", "group", "class"} & config.keys():
                TaskIndex.process_cfg(config, path, found)
        index = _joined(index, found)
    return index


@lru_cache(maxsize=1)
def lm_eval_index() -> Index:
    """Return lm-eval's own tasks, groups and tags by name. An entry has the YAML of groups only."""
    root = Path(lm_eval.tasks.__file__).parent
    text = cached(f"lm_eval_tasks_{_fingerprint(root)}.json", lambda: _scan(root))
    return {
        name: Entry(name, Kind[kind], root / path if path else None, config, set(tags))
        for name, (kind, path, config, tags) in json.loads(text).items()
    }


def _scan(root: Path) -> str:
    index = TaskIndex.build([root])
    return json.dumps(
        {
            name: (
                entry.kind.name,
                str(entry.yaml_path.relative_to(root)) if entry.yaml_path else None,
                entry.cfg if entry.kind is Kind.GROUP else None,
                sorted(entry.tags),
            )
            for name, entry in index.items()
        }
    )


def _fingerprint(root: Path) -> str:
    """Hash the path, size and time of every file: included YAMLs have any suffix."""
    found = hashlib.sha256(str(root).encode())
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - {"__pycache__"})
        for file in sorted(files):
            state = (Path(folder) / file).stat()
            found.update(f"{folder}/{file} {state.st_size} {state.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]


def _joined(index: Index, later: Index) -> Index:
    """Add ``later``, whose names win; a tag of both stands for the tasks of both."""
    joined = {**index, **later}
    for name in index.keys() & later.keys():
        if index[name].kind is later[name].kind is Kind.TAG:
            both = index[name].tags | later[name].tags
            joined[name] = Entry(name, Kind.TAG, None, None, both)
    return joined


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(load_yaml(path, resolve_func=False))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"The task file {path} cannot be read: {error}") from error


def configs_of(leaf: str, include_path: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Return the YAML of one task, includes merged, without building it (functions stay names).

    Raises:
        ConfigError: there is no such task, or its YAML cannot be read.
    """
    entry = entry_of(leaf, include_path)
    if entry is None or entry.kind not in LEAVES:
        raise ConfigError(f"There is no task '{leaf}'.")
    if entry.cfg is not None:
        return dict(entry.cfg)
    return _read(entry.yaml_path)
