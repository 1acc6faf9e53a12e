"""What is known of a run that is compared, wherever it was read from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from marco.evaluation.compare.families import families
from marco.evaluation.items import Item
from marco.evaluation.results.items import copies
from marco.evaluation.rows import Row

#: Names an item among those of its task family and language: lm-eval's task, the content, and
#: which one of several with equal content.
Key = tuple[str, str, int]


@dataclass(frozen=True)
class Run:
    """One run, or one model that was evaluated.

    Attributes:
        name: what it is called in tables.
        rows: one evaluation's, those of parts of a task too.
        items: of the same evaluation; empty where none were kept.
        tokens: trained on before that evaluation; None where that isn't known.
        config: dotted key → value.
        ledger: language → tokens, epochs and the like; what was trained on in all.
        losses: (tokens, training loss) of each step logged, in rising order.
        families: lm-eval's task → the family that its rows are filed under, where that is known.
    """

    name: str
    rows: Sequence[Row]
    items: Sequence[Item] = ()
    tokens: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    losses: Sequence[tuple[int, float]] = ()
    families: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def measured(self) -> dict[tuple[str, str, str], Row]:
        """(task, metric, language) → the row of everything whose value is a number."""
        return {
            (row.task, row.metric, row.language): row
            for row in self.rows
            if row.subtask is None and row.value is not None and math.isfinite(row.value)
        }

    def family(self, item: Item) -> str:
        """Return the family that an item's rows are filed under."""
        if item.family is not None and item.task not in self.families:
            return item.family  # a task may be in two families
        return self._families[item.task]

    @cached_property
    def _families(self) -> dict[str, str]:
        return families(self.rows, self.items) | dict(self.families)

    @cached_property
    def keyed(self) -> dict[tuple[str, str], dict[Key, Item]]:
        """(task family, language) → its items by their keys."""
        found: dict[tuple[str, str], dict[Key, Item]] = {}
        for item, copy in zip(self.items, copies(self.items), strict=True):
            mine = found.setdefault((self.family(item), item.language), {})
            mine[item.task, item.id, copy] = item
        return found


@dataclass(frozen=True)
class Group:
    """Runs of one setting that differ by their seeds, or a run alone."""

    name: str
    runs: Sequence[Run]
