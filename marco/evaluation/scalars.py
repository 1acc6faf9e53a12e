"""An evaluation as named scalars, and in one line."""

from __future__ import annotations

from marco.evaluation.history import Evaluation
from marco.evaluation.rows import METRICS, group_means, macro, measured, worst
from marco.languages import get


def scalars(evaluation: Evaluation) -> dict[str, float]:
    """Return an evaluation's metrics by the names under which they are logged."""
    found: dict[str, float] = {}
    for metric in METRICS:
        average = macro(evaluation.rows, metric)
        if average is None:
            continue
        found[f"eval/{metric}/macro"] = average
        for language, value in measured(evaluation.rows, metric).items():
            found[f"eval/{metric}/{language}"] = value
        for group, value in group_means(evaluation.rows, metric).items():
            found[f"eval/{metric}/group/{group}"] = value
    return found


def line(evaluation: Evaluation, seconds: float) -> str:
    """Return one line on an evaluation: the macro averages and the worst language."""
    parts = []
    for metric, label in (("bits_per_byte", "bits per byte"), ("lexicon_accuracy", "lexicon")):
        average = macro(evaluation.rows, metric)
        last = worst(evaluation.rows, metric)
        if average is not None and last is not None:
            language, value = last
            parts.append(f"{label} {average:.3f} (worst {get(language).name} {value:.3f})")
    failed = {
        row.task
        for row in evaluation.rows
        if row.value is None
        and row.task not in {other.task for other in evaluation.rows if other.value is not None}
    }
    parts += [f"{task} failed" for task in sorted(failed)]
    what = ", ".join(parts) or "nothing to measure"
    return f"Evaluation after {evaluation.tokens:,} tokens: {what} [{seconds:.1f} s]"
