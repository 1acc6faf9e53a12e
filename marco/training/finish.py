"""The end of a run: summary.json, plots, and the table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marco.data.ledger import by_language
from marco.data.stores import SEVERAL
from marco.evaluation.history import Evaluation, after
from marco.evaluation.matrix_table import matrix_tables
from marco.evaluation.numbers import short
from marco.evaluation.plots import write_plots
from marco.evaluation.report.page import write_report
from marco.evaluation.scalars import OWN
from marco.evaluation.summary import TrainingFacts, build_summary, write_summary
from marco.evaluation.table import results_table
from marco.evaluation.task_table import task_tables
from marco.tracking.console import console
from marco.training.module import MarcoModule

log = logging.getLogger(__name__)


def finish(module: MarcoModule, callbacks: Sequence[Any]) -> dict[str, Any]:
    """Write what came out into the run folder, show and return it. A full disk is only said.

    `callbacks` are looked through for the evaluations' `history`, and for the clock's `seconds`
    and `peak_memory_bytes`.
    """
    context = module.context
    history: list[Evaluation] = next((c.history for c in callbacks if hasattr(c, "history")), [])
    clock = next((c for c in callbacks if hasattr(c, "peak_memory_bytes")), None)
    sources = module.ledger_entries
    by_code = by_language(sources, module.source_languages)
    languages = {code: found for code, found in by_code.items() if code != SEVERAL}
    facts = TrainingFacts(
        tokens=module.tokens_seen,
        seconds=clock.seconds if clock else 0.0,
        peak_memory_bytes=clock.peak_memory_bytes if clock else None,
        language_tokens={code: found["tokens"] for code, found in languages.items()},
        language_epochs={code: found["epochs"] for code, found in languages.items()},
        ledger={"sources": sources, "languages": by_code},
    )
    reference = context.sweep.reference_xz if context.sweep is not None else {}
    summary = build_summary(facts, history, reference)
    console().print(results_table(summary))
    last = after(history)
    others = [] if last is None else [row for row in last.rows if row.task not in OWN]
    title = f"Tasks · {short(module.tokens_seen)} tokens"
    for table in (*task_tables(others, title), *matrix_tables(others, title)):
        console().print(table)
    for name, found in sources.items():
        if name not in languages:
            served = f"{short(found['tokens'])} tokens, {found['epochs']:.2f} epochs"
            console().print(f"Source {name}: {served}")
    try:
        write_summary(context.folder, summary)
        write_plots(context.folder, history)
    except OSError as error:
        log.warning("The summary could not be written whole: %s", error)
    console().print(f"Results: {context.folder}", soft_wrap=True)
    report(context.folder)
    return summary


def report(folder: Path) -> None:
    """Write the run's page and say where it is; no fault of the page's is one of the run."""
    try:
        console().print(f"Report: {write_report(folder)}", soft_wrap=True)
    except Exception as error:
        log.warning("The report could not be written: %s: %s", type(error).__name__, error)
