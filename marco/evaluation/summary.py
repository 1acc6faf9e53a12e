"""``summary.json``: what a run did, for people's scripts and for comparing runs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marco.evaluation.history import Evaluation, after, before
from marco.evaluation.rows import Row, macro, measured
from marco.evaluation.scalars import OWN, series

FILE_NAME = "summary.json"


@dataclass(frozen=True)
class TrainingFacts:
    """What training itself reports.

    ``tokens`` trained on, over all processes; ``seconds`` of training without evaluations;
    ``peak_memory_bytes`` of one process (None where it cannot be measured); tokens and epochs of
    each language, in the order in which languages are shown; the whole `ledger` of the data, by
    source and by language (`marco.data.ledger`).
    """

    tokens: int
    seconds: float
    peak_memory_bytes: int | None
    language_tokens: Mapping[str, int]
    language_epochs: Mapping[str, float]
    ledger: Mapping[str, Any] = field(default_factory=dict)


def build_summary(
    facts: TrainingFacts, history: Sequence[Evaluation], reference_xz: Mapping[str, float]
) -> dict[str, Any]:
    """Build the summary from plain values; what was not measured is None.

    ``before`` is the evaluation of the untrained model, ``after`` the last one made after some
    training. Macro averages take each language once, and every language the column has. The
    languages are those trained on and those evaluated.
    """
    first, last = before(history), after(history)
    rows = {"before": first.rows if first else (), "after": last.rows if last else ()}

    def pair(metric: str, language: str) -> dict[str, float | None]:
        return {when: measured(found, metric).get(language) for when, found in rows.items()}

    evaluated = [row.language for found in rows.values() for row in found]
    languages = dict.fromkeys([*facts.language_tokens, *evaluated])
    reference = {code: value for code, value in reference_xz.items() if code in languages}
    speed = facts.tokens / facts.seconds if facts.seconds > 0 else None
    return {
        "macro": {
            "bits_per_byte": {
                **{when: macro(found, "bits_per_byte") for when, found in rows.items()},
                "reference_xz": _mean(reference),
            }
        },
        "languages": {
            language: {
                "bits_per_byte": {
                    **pair("bits_per_byte", language),
                    "reference_xz": reference.get(language),
                },
                "nats_per_article": pair("nats_per_article", language),
                "lexicon_accuracy": pair("lexicon_accuracy", language),
                "tokens": facts.language_tokens.get(language, 0),
                "epochs": facts.language_epochs.get(language, 0.0),
            }
            for language in languages
        },
        "tasks": _tasks(rows),
        "train": {
            "tokens": facts.tokens,
            "seconds": facts.seconds,
            "tokens_per_second": speed,
            "peak_memory_bytes": facts.peak_memory_bytes,
        },
        "ledger": dict(facts.ledger),
    }


def _tasks(rows: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Before and after of every other task: its macro average, and of each language."""
    found: dict[str, Any] = {}
    for name, (task, metric) in series([row for part in rows.values() for row in part]).items():
        if task in OWN:
            continue
        values = {when: measured(part, metric, task) for when, part in rows.items()}
        languages = dict.fromkeys(code for part in values.values() for code in part)
        found[name] = {
            "macro": {when: macro(part, metric, task) for when, part in rows.items()},
            "languages": {
                code: {when: part.get(code) for when, part in values.items()} for code in languages
            },
        }
    return found


def write_summary(folder: Path, summary: Mapping[str, Any]) -> Path:
    """Write ``summary.json`` into the run's folder, beside and renamed; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    beside = path.with_name(path.name + ".tmp")
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    beside.write_text(text + "\n", encoding="utf-8")
    os.replace(beside, path)
    return path


def _mean(values: Mapping[str, float]) -> float | None:
    return math.fsum(values.values()) / len(values) if values else None
