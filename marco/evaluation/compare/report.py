"""All that a comparison says, before it is shown: in a terminal, as CSV, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marco.evaluation.compare.configs import differing
from marco.evaluation.compare.differences import Comparison, compare
from marco.evaluation.compare.ledgers import LedgerLine, ledger_differences
from marco.evaluation.compare.losses import LossLine, common_losses
from marco.evaluation.compare.run import Group, Run


@dataclass(frozen=True)
class Report:
    """Groups of runs, the first of which the others are compared with.

    Attributes:
        groups: named by ``letters`` in tables.
        runs: all runs, group by group; configs, ledgers and losses have a value for each.
        configs: dotted key → its values, where they differ.
        ledgers: what was trained on, where it differs.
        losses: over the tokens that all runs saw.
        comparisons: of each group but the first with the first.
        correction: how p-values are corrected for the number of languages.
        level: from which adjusted p-value down a difference is a finding.
    """

    groups: Sequence[Group]
    runs: Sequence[Run]
    configs: dict[str, list[Any]]
    ledgers: Sequence[LedgerLine]
    losses: Sequence[LossLine]
    comparisons: Sequence[Comparison]
    correction: str
    level: float

    @property
    def labels(self) -> list[str]:
        """What each run is called: A; of several seeds A1, A2."""
        return [label for index, group in enumerate(self.groups) for label in _labels(index, group)]


def build_report(groups: Sequence[Group], correction: str = "holm", level: float = 0.05) -> Report:
    """Compare every group with the first one."""
    runs = [run for group in groups for run in group.runs]
    return Report(
        groups=groups,
        runs=runs,
        configs=differing(runs),
        ledgers=ledger_differences(runs),
        losses=common_losses(runs),
        comparisons=[
            compare(groups[0], other, correction=correction, level=level) for other in groups[1:]
        ],
        correction=correction,
        level=level,
    )


def letter(index: int) -> str:
    """Return a group's letter: A to Z, then A27."""
    return chr(ord("A") + index) if index < 26 else f"A{index + 1}"


def _labels(index: int, group: Group) -> list[str]:
    name = letter(index)
    return [f"{name}{i}" for i in range(1, len(group.runs) + 1)] if len(group.runs) > 1 else [name]
