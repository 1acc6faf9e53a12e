"""Which family of rows an item belongs to.

Items carry lm-eval's own name of their task (``belebele_swh_Latn``), rows that of the family in the
config (``belebele``), and the part's name only where a language has several.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from marco.errors import ConfigError
from marco.evaluation.items import Item
from marco.evaluation.results.samples import of_items
from marco.evaluation.rows import Row
from marco.languages import get


def families(rows: Iterable[Row], items: Sequence[Item]) -> dict[str, str]:
    """Return {task of the items: family of the rows}.

    A part that has a row of its own says where it belongs. Tasks whose names differ by their
    language alone belong together, to the family whose values they give in most languages; one that
    gives no family's values is a family of its own.
    """
    rows = [row for row in rows if row.value is not None]
    found = {row.subtask: row.task for row in rows if row.subtask is not None}
    tasks = {item.task: item.language for item in items}
    found |= {task: task for task in tasks if any(row.task == task for row in rows)}
    stems: dict[str, list[str]] = {}
    for task, language in tasks.items():
        if task not in found:
            stems.setdefault(stem(task, language), []).append(task)
    for name, members in stems.items():
        votes = Counter(
            family for task in members for family in _matches(task, tasks[task], rows, items)
        )
        family = votes.most_common(1)[0][0] if votes else name
        found |= dict.fromkeys(members, family)
    return found


def stem(task: str, *languages: str) -> str:
    """Return a task's name without the words that say its languages: ``belebele_swh_Latn``."""
    kept = task
    for word in re.findall(r"[A-Za-z]+", task):
        if _code(word) in languages:
            kept = re.sub(rf"_{word}(?:_[A-Z][a-z]{{3}})?(?=_|-|$)", "", kept, count=1)
    return kept or task


def _code(word: str) -> str | None:
    try:
        return get(word).code
    except ConfigError:
        return None


def _matches(task: str, language: str, rows: Iterable[Row], items: Iterable[Item]) -> set[str]:
    mine = [item for item in items if item.task == task]
    found = set()
    for row in rows:
        if row.language != language or row.subtask is not None or row.n != len(mine):
            continue
        sample = of_items(mine, row.metric).get(language)
        if sample and math.isclose(sample.value, row.value or 0.0, rel_tol=1e-6, abs_tol=1e-9):
            found.add(row.task)
    return found
