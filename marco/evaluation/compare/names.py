"""One name for one task: what marco's configs call it, in lm-eval's own results too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from marco.evaluation.compare.run import Run


def with_common_names(runs: Sequence[Run]) -> list[Run]:
    """Return the runs; those of lm-eval's files have the families that marco's give the same tasks.

    lm-eval knows ``marco_embedded_cloze_swh``, which is of the family ``cloze`` where marco
    measured it. A family keeps its name where its tasks are of several in marco's runs, and where
    several would get one name (the subjects of a benchmark, which marco has as parts of one).
    """
    known = {
        item.task: item.family
        for run in runs
        if not run.families
        for item in run.items
        if item.family is not None
    }
    return [_renamed(run, known) if run.families else run for run in runs]


def _renamed(run: Run, known: dict[str, str]) -> Run:
    called: dict[str, set[str]] = {}
    for task, family in run.families.items():
        called.setdefault(family, set()).update({known[task]} if task in known else ())
    new = {family: min(names) for family, names in called.items() if len(names) == 1}
    every = [new.get(family, family) for family in called]
    new = {family: name for family, name in new.items() if every.count(name) == 1}
    return replace(
        run,
        rows=[row.but(task=new.get(row.task, row.task)) for row in run.rows],
        families={task: new.get(family, family) for task, family in run.families.items()},
    )
