"""What runs were trained on, where it differs: tokens and epochs of each language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from marco.evaluation.compare.run import Run

FIELDS = ("tokens", "epochs")


class LedgerLine(NamedTuple):
    """A language's count in each run; None where the run knows nothing of it."""

    language: str
    field: str
    values: list[float | None]


def ledger_differences(runs: Sequence[Run]) -> list[LedgerLine]:
    """Return the counts that are not alike in all runs that have a ledger.

    A language that is not in a run's ledger was not trained on: 0.
    """
    known = [run for run in runs if run.ledger]
    found = []
    for language in dict.fromkeys(code for run in known for code in run.ledger):
        for field in FIELDS:
            values = [
                float(run.ledger.get(language, {}).get(field, 0)) if run.ledger else None
                for run in runs
            ]
            if len({value for value in values if value is not None}) > 1:
                found.append(LedgerLine(language, field, values))
    return found
