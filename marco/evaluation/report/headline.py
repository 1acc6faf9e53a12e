"""The top of the page: what ran, on what, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from marco.evaluation.compare.tables import signed
from marco.evaluation.history import before
from marco.evaluation.numbers import short
from marco.evaluation.report.log_file import BUILT
from marco.evaluation.report.measures import Change, Measure, name_of
from marco.evaluation.report.read import RunFolder
from marco.evaluation.task_table import NOTHING, heading, number

#: What is said first, where it was measured.
FIRST = "bits_per_byte"


def headline(run: RunFolder, measures: Sequence[Measure]) -> str:
    """Return the title, what was built, and the cards."""
    state = f' <span class="tag worse">{escape(_state(run))}</span>' if not run.finished else ""
    parent, _, when = run.name.partition("/")
    name = str(run.config.get("name") or parent)
    if run.config.get("branch"):
        when += f" · branched off {Path(str(run.config['branch'])).name}"
    if parent != name:  # a run of a sweep, or a step of a recipe
        when = f"{parent} / {when}"
    built = "".join(
        f"<dt>{what}</dt><dd>{escape(run.log.built[what])}</dd>"
        for what in BUILT
        if what in run.log.built
    )
    shown = "".join(
        f'<div class="card"><span>{title}</span><b>{value}</b><small>{more}</small></div>'
        for title, value, more in (*_outcome(run, measures), *_training(run))
    )
    return (
        f'<header><h1>{escape(name)}{state}</h1><p class="when">{escape(when)}</p></header>'
        f'<dl class="built">{built}</dl><div class="cards">{shown}</div>'
    )


def _state(run: RunFolder) -> str:
    if run.ended is not None:
        return run.ended
    of = run.config.get("tokens")
    at = f"{short(run.summary['train']['tokens'])} tokens"
    return f"not at its end: {at} of {short(of)}" if isinstance(of, int) else "not at its end"


def lead(measures: Sequence[Measure]) -> Measure | None:
    """Return the measure that the headline is about; None if none was measured twice."""
    found = [each for each in measures if each.direction is not None and each.mean_change()]
    return next((each for each in found if each.metric == FIRST), found[0] if found else None)


def first_evaluation(run: RunFolder) -> str:
    """Return what the changes are against, in words."""
    if before(run.history) is not None:
        return "step 0"
    return f"{short(run.history[0].tokens)} tokens" if run.history else "the start"


def _outcome(run: RunFolder, measures: Sequence[Measure]) -> Iterator[tuple[str, str, str]]:
    measure = lead(measures)
    change = None if measure is None else measure.mean_change()
    if measure is None or change is None:
        yield "Evaluated", "once" if run.history else "never", "no change to show"
        return
    title = heading(measure.name)
    interval = run.intervals.get((measure.task, measure.metric))
    said = [] if interval is None else [f"95 % {number(interval[0])} to {number(interval[1])}"]
    said.append(f"{measure.direction} is better")
    xz = run.summary["macro"]["bits_per_byte"].get("reference_xz")
    if measure.metric == FIRST and xz is not None:
        said.append(f"xz: {number(xz)}")
    yield f"Mean {escape(title)}", _arrow(change), " · ".join(said)
    changes = measure.changes()
    gained = [each for each in changes if (each.gain or 0) > 0]
    lost = [each for each in changes if (each.gain or 0) < 0]
    nobody = f"of {len(changes)} languages, in {escape(title)}"
    yield "Gained most", *(_of(gained[0]) if gained else ("nobody", nobody))
    if lost:
        language, how = _of(lost[-1])
        yield "Lost most", language, f"{how} · {len(lost)} of {len(changes)} languages lost"
    else:
        least = f"; least gained {_of(changes[-1])[0]} ({signed(changes[-1].difference)})"
        yield "Lost", "nobody", nobody + least


def _of(change: Change) -> tuple[str, str]:
    name = escape(name_of(change.language or ""))
    return name, f"{_arrow(change)} ({signed(change.difference)})"


def _arrow(change: Change) -> str:
    return f"{number(change.before)} → {number(change.after)}"


def _training(run: RunFolder) -> Iterator[tuple[str, str, str]]:
    train = run.summary["train"]
    languages = run.summary["languages"].values()
    epochs = [found["epochs"] for found in languages if found["tokens"]]
    seen = "no language by itself"
    if epochs:
        low, high = (f"{extreme(epochs):.3g}" for extreme in (min, max))
        each = low if low == high else f"{low} to {high}"
        seen = f'{len(epochs)} languages, <a href="#ledger">{each} epochs each</a>'
    yield "Trained on", f"{short(train['tokens'])} tokens", seen
    speed = train["tokens_per_second"]
    shown = NOTHING if speed is None else f"{short(speed)} tokens/s"
    if speed is None and train["seconds"]:
        shown = f"{short(train['tokens'] / train['seconds'])} tokens/s"
    evaluating = sum(line.get("eval/seconds") or 0 for line in run.metrics)
    more = f"{duration(train['seconds'])} of training"
    yield "Speed", shown, f"{more}, {duration(evaluating)} of evaluation" if evaluating else more
    memory = train["peak_memory_bytes"]
    shown = NOTHING if memory is None else f"{memory / 1e9:.2f} GB"
    yield "Peak memory", shown, "of one process"


def duration(seconds: float) -> str:
    """Return a time as people say it: 42 s, 2 min 32 s, 3 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
