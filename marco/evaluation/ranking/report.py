"""The ranking of what lies in some folders: read, ordered, printed, and written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from marco.errors import ConfigError, DataError, MarcoError, nearest
from marco.evaluation.compare.read import evaluations, read
from marco.evaluation.compare.run import Run
from marco.evaluation.ranking.rank import Order, order
from marco.evaluation.ranking.runs import SweepRun, find_runs
from marco.evaluation.ranking.settings import settings_of
from marco.evaluation.results.table import read_results
from marco.evaluation.rows import FAILED, Row, better
from marco.evaluation.scalars import series
from marco.languages import get

#: By what settings are ranked where nothing else is asked for, if it was measured.
METRIC = "bits_per_byte"


@dataclass(frozen=True)
class Ranking:
    """Settings in their order, and what is needed to read it.

    Attributes:
        keys: what was swept.
        task: the task family ranked by.
        metric: the metric.
        languages: that the mean is over: those that all runs have.
        dropped: languages that only some runs have.
        order: from the best setting to the worst.
        left_out: runs that have no result, with the reason.
        tokens: after how many tokens the runs were evaluated.
        level: from which corrected p-value down a setting is told apart from the best.
    """

    keys: Sequence[str]
    task: str
    metric: str
    languages: Sequence[str]
    dropped: Sequence[str]
    order: Order
    left_out: Sequence[SweepRun]
    tokens: Sequence[int]
    level: float


def build_ranking(
    folders: Sequence[Path],
    *,
    metric: str | None = None,
    task: str | None = None,
    languages: Sequence[str] = (),
    step: int | None = None,
    level: float = 0.05,
) -> Ranking:
    """Rank the settings of the runs below some folders.

    Args:
        folders: of sweeps, of runs, or that hold such.
        metric: its name, or that under which W&B shows it (``cloze``); None: bits per byte, or the
            first one that was measured.
        task: of several that have the metric.
        languages: to take the mean over; empty: all.
        step: which evaluation of each run; None: its last one.
        level: from which corrected p-value down a setting is told apart from the best.

    Raises:
        DataError: there are no runs, or none that finished with a result.
        ConfigError: the metric, task or language was not measured.
    """
    runs = find_runs(folders)
    rows: dict[Path, list[Row]] = {}
    for place, run in enumerate(runs):
        try:
            rows[run.folder] = [] if run.problem else _rows(run.folder, step)
        except DataError as error:
            runs[place] = replace(run, problem=str(error))
            rows[run.folder] = []
    if not any(rows.values()):
        raise DataError(f"None of {len(runs)} runs has a result: {runs[0].name}: {runs[0].problem}")
    measure = _measure([row for found in rows.values() for row in found], metric, task)
    have = {folder: _languages(found, measure) for folder, found in rows.items()}
    asked = _asked(languages, {code for found in have.values() for code in found})
    runs = [_with_result(run, rows[run.folder], measure, have[run.folder], asked) for run in runs]
    ended = [run for run in runs if run.problem is None]
    every = dict.fromkeys(code for run in ended for code in have[run.folder])
    common = [code for code in every if all(code in have[run.folder] for run in ended)]
    keys, settings = settings_of(runs)
    finished = [setting for setting in settings if setting.runs]
    if not finished:
        raise DataError(f"None of {len(runs)} runs has a result: {runs[0].name}: {runs[0].problem}")
    chosen = asked or common
    if not chosen:
        raise DataError("The runs have no language in common: rank those that do.")
    read_of = {run.folder: _read(run.folder, step, measure[0]) for run in ended}
    ordered = order(
        [(setting, [read_of[run.folder] for run in setting.runs]) for setting in finished],
        *measure,
        chosen,
        level,
    )
    known = {run.folder for setting in finished for run in setting.runs}
    problems = {run.folder: run for setting in settings for run in setting.failed}
    return Ranking(
        keys=keys,
        task=measure[0],
        metric=measure[1],
        languages=chosen,
        dropped=[] if asked else [code for code in every if code not in common],
        order=ordered,
        left_out=[problems.get(run.folder, run) for run in runs if run.folder not in known],
        tokens=sorted({run.tokens for run in read_of.values() if run.tokens is not None}),
        level=level,
    )


def report_sweep(folder: Path) -> None:
    """Print the ranking of a sweep that ended, and write it into its folder; never raises.

    Where it cannot be ranked, that is said in a line; of a single run nothing is.
    """
    from marco.evaluation.ranking.files import write_ranking
    from marco.evaluation.ranking.show import show
    from marco.tracking.console import console

    try:
        if len(find_runs([folder])) < 2:
            return
        ranking = build_ranking([folder])
        show(ranking)
        console().print(f"The ranking: {write_ranking(folder, ranking)}", soft_wrap=True)
    except (MarcoError, OSError) as error:
        console().print(f"The sweep is not ranked: {error}", style="yellow", markup=False)
    except Exception as error:  # a run of hours should not end in a traceback over its table
        said = f"The sweep could not be ranked: {type(error).__name__}: {error}"
        console().print(said, style="yellow", markup=False)


def _rows(folder: Path, step: int | None) -> list[Row]:
    made = evaluations(folder)
    if not made:
        raise DataError("it has no evaluation")
    if step is not None and step not in made:
        raise DataError(f"it has no evaluation of step {step}, but {sorted(made)}")
    return [Row.from_dict(each) for each in read_results(made[max(made) if step is None else step])]


def _measure(rows: Sequence[Row], metric: str | None, task: str | None) -> tuple[str, str]:
    """The task and metric to rank by: the first that fits."""
    every = [(name, key) for name, key in series(rows).items() if key[1] != FAILED]
    there = [(name, key) for name, key in every if better(key[1]) is not None]
    if not there:
        raise DataError("No finished run has measured anything that could be ranked by.")
    tasks = list(dict.fromkeys(key[0] for _, key in there))
    if task is not None and task not in tasks:
        raise ConfigError(f"task={task} was not measured.{nearest(task, tasks)} There are {tasks}.")
    there = [(name, key) for name, key in there if task in (None, key[0])]
    if metric is None:
        return next((key for _, key in there if key[1] == METRIC), there[0][1])
    for name, key in there:
        if metric in (key[1], name):
            return key
    names = list(dict.fromkeys(word for name, key in there for word in (name, key[1])))
    if any(metric in (key[1], name) for name, key in every if better(key[1]) is None):
        why = " is neither better nor worse for being higher."
    else:
        why = f" was not measured.{nearest(metric, names)}"
    raise ConfigError(f"metric={metric}{why} There are {', '.join(names)}.")


def _languages(rows: Sequence[Row], measure: tuple[str, str]) -> list[str]:
    found = Run("", rows).measured
    return [code for task, metric, code in found if (task, metric) == measure]


def _asked(languages: Sequence[str], measured: set[str]) -> list[str]:
    codes = [get(each).code for each in languages]
    for code in codes:
        if code not in measured:
            has = ", ".join(sorted(measured))
            raise ConfigError(f"language={code} was not measured. There are {has}.")
    return list(dict.fromkeys(codes))


def _with_result(
    run: SweepRun,
    rows: Sequence[Row],
    measure: tuple[str, str],
    measured: Sequence[str],
    asked: Sequence[str],
) -> SweepRun:
    """A run that finished, but has no number where the others have one, is left out."""
    if run.problem is not None:
        return run
    mine = [row for row in rows if (row.task, row.metric) == measure and row.subtask is None]
    lacks = [row.language for row in mine if row.language not in measured]
    lacks = [code for code in asked if code not in measured] if asked else lacks
    if not mine:
        return replace(run, problem=f"{measure[1]} was not measured")
    if lacks:
        return replace(run, problem=f"{measure[1]} is not a number in {', '.join(lacks[:5])}")
    return run


def _read(folder: Path, step: int | None, task: str) -> Run:
    """A run with the items of one task alone: those of all runs are held at once."""
    run = read(folder, step)
    kept = [replace(item, family=task) for item in run.items if run.family(item) == task]
    return replace(run, items=kept, losses=())
