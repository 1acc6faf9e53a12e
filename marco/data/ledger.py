"""The ledger: what a run has trained on, counted per source where the tokens are served.

Counts are whole numbers, summed over all processes and kept in every checkpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

#: What is counted of every sequence:
FIELDS = (
    "tokens",  # served, the end-of-text tokens included
    "target_tokens",  # of these, with a loss
    "documents",  # whose end was served
    "bytes",  # of UTF-8 text
    "truncated_tokens",  # served without the beginning of their document in the same window
    "padding",  # places of the window that hold nothing
)


def entry(
    counts: Iterable[int], size: int, lost: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """One source's counts by name, the tokens it holds, and epochs: served over held.

    `lost` is added as it is: what it does not hold, since it was dropped or cut before
    (`marco.data.stores.Source`).
    """
    found: dict[str, Any] = dict(zip(FIELDS, map(int, counts), strict=True))
    return {**found, "size": size, "epochs": found["tokens"] / size, **(lost or {})}


def by_language(
    sources: Mapping[str, Mapping[str, Any]], languages: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Sum the sources' counts over each language.

    Args:
        sources: source → what `entry` returns.
        languages: source → its language, "mul" where it holds several.
    """
    sums: dict[str, Counter[str]] = {}
    for source, counts in sources.items():
        row = sums.setdefault(languages[source], Counter())
        row.update({field: count for field, count in counts.items() if field != "epochs"})
    return {
        code: entry(
            [row[field] for field in FIELDS],
            row["size"],
            {field: row[field] for field in row if field not in (*FIELDS, "size")},
        )
        for code, row in sums.items()
    }
