"""What was trained on, and whether the tests were among it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from marco.evaluation.history import Evaluation
from marco.evaluation.numbers import short
from marco.evaluation.page_parts import cells, table
from marco.evaluation.report.measures import CONTAMINATION, group_of, in_order, name_of
from marco.evaluation.task_table import NOTHING, heading, number


def ledger(summary: Mapping[str, Any]) -> str:
    """Return tokens and epochs of every language; bars are shares of the largest."""
    found = summary["ledger"].get("languages", {})
    total = sum(entry["tokens"] for entry in found.values()) or 1
    most = max((entry["tokens"] for entry in found.values()), default=0) or 1
    lines = []
    for code in in_order(found):
        entry = found[code]
        tokens = entry["tokens"]
        whole, cut = entry.get("documents"), entry.get("truncated_tokens")
        rest = (
            f"{tokens / total:.1%}",
            f"{entry['epochs']:.2f}",
            NOTHING if whole is None else f"{whole:,}",
            NOTHING if cut is None or not tokens else f"{cut / tokens:.0%}",
        )
        lines.append(
            f'<tr><td>{escape(name_of(code))} <span class="dim">{escape(code)}</span></td>'
            f'<td>{group_of(code)}</td><td class="bar" style="--w:{tokens / most:.3f}" '
            f'data-v="{tokens}">{short(tokens)}</td>{cells(rest)}</tr>'
        )
    titles = ("Language", "group", "tokens", "share", "epochs", "documents", "cut")
    head = "".join(f"<th>{title}</th>" for title in titles)
    return (
        f'<div class="scroll tall"><table class="sort"><thead><tr>{head}</tr></thead>'
        f'<tbody>{"".join(lines)}</tbody></table></div><p class="dim">Epochs: tokens served over '
        "tokens there are. Cut: the share of tokens that were seen without the beginning of their "
        f"document.</p>{''.join(_sources(summary['ledger']))}"
    )


def contamination(history: Sequence[Evaluation]) -> str:
    """Return what the last evaluation found of the test sets in the training text or the model."""
    rows = [] if not history else [r for r in history[-1].rows if r.metric in CONTAMINATION]
    if not rows:
        return (
            "<p>Not looked for. <code>evaluation.ngrams=</code> looks the test sets up in the "
            "training text, <code>evaluation.option_order=true</code> asks whether the model knows "
            "their published order.</p>"
        )
    columns = list(dict.fromkeys((row.task, row.metric) for row in rows))
    values = {(row.language, row.task, row.metric): row.value for row in rows}
    head = ("Language", *(f"{heading(task)}: {heading(metric)}" for task, metric in columns))
    codes = in_order(dict.fromkeys(row.language for row in rows))
    return table(
        head,
        ((name_of(c), *(number(values.get((c, *column))) for column in columns)) for c in codes),
    )


def _sources(found: Mapping[str, Any]) -> Iterator[str]:
    """Sources, where they are more than one for each language."""
    sources = found.get("sources", {})
    if not set(sources) - set(found.get("languages", {})):
        return
    lines = (
        (name, short(entry["tokens"]), f"{entry['epochs']:.2f}") for name, entry in sources.items()
    )
    yield f"<details><summary>{len(sources)} sources of the mix</summary>"
    yield table(("source", "tokens", "epochs"), lines) + "</details>"
