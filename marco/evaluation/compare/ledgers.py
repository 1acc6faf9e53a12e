"""What runs were trained on, where it differs: tokens and epochs of each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from marco.evaluation.compare.run import Run


class Count(NamedTuple):
    """What a run saw of a language."""

    tokens: int
    epochs: float


class LedgerLine(NamedTuple):
    """A language's count in each run; None where the run has no ledger."""

    language: str
    counts: list[Count | None]


def ledger_differences(runs: Sequence[Run]) -> list[LedgerLine]:
    """Return the languages whose tokens are not alike in all runs that have a ledger.

    The largest change first. A language that is not in a run's ledger was not trained on: 0.
    """
    languages = dict.fromkeys(code for run in runs for code in run.ledger)
    lines = [
        LedgerLine(code, [_count(run.ledger.get(code, {})) if run.ledger else None for run in runs])
        for code in languages
    ]
    return sorted((line for line in lines if _spread(line)), key=lambda line: -_spread(line))


def _count(entry: Mapping[str, float]) -> Count:
    return Count(int(entry.get("tokens", 0)), float(entry.get("epochs", 0.0)))


def _spread(line: LedgerLine) -> int:
    tokens = [count.tokens for count in line.counts if count is not None]
    return max(tokens) - min(tokens)
