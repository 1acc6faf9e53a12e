"""Everything that one evaluation leaves in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from marco.evaluation.items import Item
from marco.evaluation.results.aggregates import aggregate_all
from marco.evaluation.results.items import write_items
from marco.evaluation.results.table import (
    Measured,
    tidy,
    tidy_aggregates,
    write_aggregates,
    write_results,
)
from marco.evaluation.rows import Row


def write_evaluation(
    folder: Path, rows: Sequence[Row], items: Mapping[str, Sequence[Item]], of: Measured
) -> None:
    """Write the rows, the items of every task, and the aggregates, each file whole or not at all.

    ``results`` and ``aggregates`` are parquet and JSON, ``items`` parquet.

    Args:
        folder: of this evaluation.
        rows: all that was measured.
        items: task family, as in the rows → its items.
        of: what they are of.

    Raises:
        OSError: the disk is full, say.
    """
    write_results(folder, tidy(rows, of))
    named = [replace(item, family=task) for task, found in items.items() for item in found]
    write_items(folder, named)
    write_aggregates(folder, tidy_aggregates(aggregate_all(rows, items), of))
