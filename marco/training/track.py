"""What a run tells its loggers besides its metrics: its data, what it leaves, how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from marco.data.ledger import FIELDS, by_language
from marco.errors import MarcoError, TrainingError
from marco.evaluation.numbers import short
from marco.tracking.alerts import alert
from marco.tracking.artifacts import artifact_loggers
from marco.tracking.media import log_table
from marco.training.checkpoint import checkpoints, metrics_of

if TYPE_CHECKING:
    from marco.training.assemble import Text
    from marco.training.context import RunContext
    from marco.training.module import MarcoModule

METRIC = "bits_per_byte"
REPORT = "report.html"


def tell_data(loggers: Sequence[Any], context: RunContext, text: Text) -> None:
    """Say which text the run uses, in which mix: a manifest, never the text itself."""
    manifest = {
        "fingerprint": context.corpus_fingerprint,
        "tokenizer": context.tokenizer_fingerprint,
        "languages": sorted({source.language for source in text.sources}),
        "sources": [
            {
                "name": source.name,
                "language": source.language,
                "tokens": len(source.store),
                "documents": source.store.documents,
                "content": source.content,
            }
            for source in text.sources
        ],
        "data": context.config.get("data"),
        "mix": context.config.get("mix"),
    }
    for logger in artifact_loggers(loggers):
        logger.log_data(context.corpus_fingerprint, manifest)


def tell_end(loggers: Sequence[Any], module: MarcoModule, summary: Mapping[str, Any]) -> None:
    """Hand over what a finished run leaves: summary, ledger, report, its model; and say so."""
    folder = module.context.folder
    at = {"step": module.step, "tokens": module.tokens_seen}
    sources = module.ledger_entries
    languages = by_language(sources, module.source_languages)
    log_table(loggers, "data/ledger", ledger_frame(sources, module.source_languages), **at)
    for logger in loggers:
        if hasattr(logger, "log_summary"):
            logger.log_summary(summary)
    for keeper in artifact_loggers(loggers):
        if (folder / REPORT).is_file():
            keeper.log_page("report", folder / REPORT, **at)
        for step, aliases in chosen(module.context).items():
            path = checkpoints(module.context.checkpoints)[step]
            facts = {"run": folder.name, "step": step, "corpus": module.context.corpus_fingerprint}
            ledger = {"sources": sources, "languages": languages}
            keeper.log_checkpoint(path, aliases, {**facts, **metrics_of(path)}, ledger)
    found = summary["macro"][METRIC]
    scores = [
        f"{when} {found[when]:.3f}" for when in ("before", "after") if found[when] is not None
    ]
    text = f"{_name(module.context)}: {short(module.tokens_seen)} tokens"
    if scores:
        text += f"; bits per byte (macro) {', '.join(scores)}"
    alert(loggers, "Run finished", text, "info")


def tell_failure(loggers: Sequence[Any], context: RunContext, error: Exception) -> None:
    """Send an alert that the run ended with an error: a loss that is not a number is one, too."""
    title = "Training went wrong" if isinstance(error, TrainingError) else "Run failed"
    kind = "" if isinstance(error, MarcoError) else f"{type(error).__name__}: "
    alert(loggers, title, f"{_name(context)}: {kind}{error}", "error")


def chosen(context: RunContext) -> dict[int, list[str]]:
    """Return {step: aliases} of the last and the best of a run's checkpoints, which may be one."""
    there = checkpoints(context.checkpoints)
    if not there:
        return {}
    found = {max(there): ["last"]}
    values = {step: metrics_of(path).get(METRIC) for step, path in there.items()}
    measured = {step: value for step, value in values.items() if value is not None}
    if measured:
        found.setdefault(min(measured, key=lambda step: measured[step]), []).append("best")
    return found


def ledger_frame(
    sources: Mapping[str, Mapping[str, Any]], languages: Mapping[str, str]
) -> pd.DataFrame:
    """Return the ledger as a table with the same columns and types in every run.

    Args:
        sources: source of the mix → its counts (``marco.data.ledger.entry``).
        languages: source → its language.
    """
    rows = [[name, languages[name], *(counts[key] for key in (*FIELDS, "epochs"))]
            for name, counts in sources.items()]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["source", "language", *FIELDS, "epochs"])
    kinds = {"source": "string", "language": "string", "epochs": "float64"}
    return frame.astype({column: kinds.get(column, "Int64") for column in frame.columns})


def _name(context: RunContext) -> str:
    return f"{context.folder.parent.name}/{context.folder.name}"
