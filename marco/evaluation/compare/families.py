"""Which family of rows an item belongs to.

Items carry lm-eval's own name of their task (``belebele_swh_Latn``), rows that of the family in the
config (``belebele``), and the part's name only where a language has several. Files that marco wrote
say it (`Item.family`); of older ones, and of lm-eval's own, it is found from the values.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from marco.errors import ConfigError
from marco.evaluation.items import Item
from marco.evaluation.results.samples import of_items
from marco.evaluation.rows import Row
from marco.languages import get


def families(rows: Iterable[Row], items: Iterable[Item]) -> dict[str, str]:
    """Return {task of the items: family of the rows}.

    An item that says its family has it. A part that has a row of its own says where it belongs.
    Tasks whose names differ by their language alone belong together, to the family whose values
    they give in most languages, and of equals to the one that is in their name; one that gives no
    family's values is its own.
    """
    rows = [row for row in rows if row.value is not None]
    whole: dict[str, list[Row]] = {}
    for row in rows:
        if row.subtask is None:
            whole.setdefault(row.language, []).append(row)
    by_task: dict[str, list[Item]] = {}
    said: dict[str, str] = {}
    for item in items:
        if item.family is not None:
            said[item.task] = item.family
            continue
        by_task.setdefault(item.task, []).append(item)
    names = {row.task for row in rows}
    found = {row.subtask: row.task for row in rows if row.subtask is not None}
    found |= {task: task for task in by_task if task in names}
    stems: dict[str, list[str]] = {}
    votes: Counter[tuple[str, str]] = Counter()
    for task, mine in by_task.items():
        if task in found:
            continue
        language = mine[0].language
        name = stem(task, language)
        stems.setdefault(name, []).append(task)
        votes.update((name, family) for family in _matches(mine, whole.get(language, ())))
    chosen: dict[str, str] = {}
    for name, family in sorted(votes, key=lambda pair: (-votes[pair], pair[1] not in pair[0])):
        if name not in chosen and family not in chosen.values():
            chosen[name] = family
    guessed = {task: chosen.get(name, name) for name, tasks in stems.items() for task in tasks}
    return found | guessed | said


def stem(task: str, *languages: str) -> str:
    """Return a task's name without the words that say its languages: ``belebele_swh_Latn``."""
    kept = task
    for word in re.findall(r"[A-Za-z]+", task):
        if _code(word) in languages:
            kept = re.sub(rf"_{word}(?:_[A-Z][a-z]{{3}})?(?=_|-|$)", "", kept, count=1)
    return kept or task


@cache
def _code(word: str) -> str | None:
    try:
        return get(word).code
    except ConfigError:
        return None


def _matches(items: Sequence[Item], rows: Iterable[Row]) -> set[str]:
    """The families of a language one of whose values these items give."""
    found = set()
    for row in rows:
        if row.n == len(items) and row.task not in found:
            sample = of_items(items, row.metric).get(row.language)
            if sample and math.isclose(sample.value, row.value or 0.0, rel_tol=1e-6, abs_tol=1e-9):
                found.add(row.task)
    return found
