"""A comparison as one HTML page, which opens anywhere: no script, no network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from marco.evaluation.compare.charts import interval_chart, loss_chart, scale_of
from marco.evaluation.compare.differences import Comparison
from marco.evaluation.compare.measure import Difference
from marco.evaluation.compare.report import Report, letter
from marco.evaluation.compare.tables import (
    HOW,
    SEEDS_ALONE,
    config_lines,
    flips,
    interval,
    ledger_lines,
    p_value,
    remarks,
    signed,
    title_of,
    with_error,
)
from marco.evaluation.numbers import short
from marco.evaluation.page_parts import cells, document, table
from marco.evaluation.results.files import replace_file
from marco.evaluation.task_table import NOTHING, number
from marco.languages import get

FILE_NAME = "compare.html"

STYLE = """
svg text { color: var(--dim); fill: var(--dim); font-size: 12px; }
svg.interval { width: 9rem; height: 1rem; overflow: visible; vertical-align: middle;
  fill: currentColor; stroke: currentColor; }
svg .bar { stroke-width: 2; }
svg .zero { stroke: var(--dim); stroke-width: 1; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg.losses { width: 100%; max-width: 46rem; height: auto; }
.legend span { margin-right: 1rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .3rem;
  border-radius: .2rem; vertical-align: -1px; }
.refused { color: var(--worse); font-weight: 600; }
"""


def write_page(folder: Path, report: Report) -> Path:
    """Write ``compare.html`` into a folder, whole or not at all, and return its path."""
    path = folder / FILE_NAME
    replace_file(path, lambda beside: beside.write_text(page(report), encoding="utf-8"))
    return path


def page(report: Report) -> str:
    """Return the page."""
    names = " and ".join(group.name for group in report.groups)
    return document(names, STYLE, f"<h1>Comparison of runs</h1>{''.join(_sections(report))}")


def _sections(report: Report) -> Iterator[str]:
    yield table(
        ("", "run", "seed", "evaluated after"),
        (
            (label, run.name, str(run.config.get("seed", NOTHING)), _tokens(run.tokens))
            for label, run in zip(report.labels, report.runs, strict=True)
        ),
    )
    if report.configs:
        yield "<h2>Config, where it differs</h2>"
        lines = ((key, *values) for key, values in config_lines(report))
        yield table(("key", *report.labels), lines, wrap=True)
    if len(report.groups) == 1:
        yield f"<p>{SEEDS_ALONE}</p>"
    for index, comparison in enumerate(report.comparisons, 1):
        yield f"<h2>{letter(index)} less A</h2>"
        yield from _comparison(report, comparison, letter(index))
    if report.losses:
        yield "<h2>Training loss</h2>"
        yield loss_chart(report.losses, report.labels)
    if report.ledgers:
        yield "<h2>Trained on, where it differs: tokens (epochs)</h2>"
        lines = ((language, *counts) for language, counts in ledger_lines(report))
        yield table(("language", *report.labels), lines)


def _comparison(report: Report, comparison: Comparison, name: str) -> Iterator[str]:
    for wrong in comparison.mismatches:
        yield f'<p class="refused">Not compared, the items differ: {escape(str(wrong))}</p>'
    means = {(each.task, each.metric): each for each in comparison.means}
    yield (
        f"<p>Each line opens: a mean over languages, then every language. Better and worse are "
        f"languages with p ≤ {report.level:g} after correction for their number "
        f"({HOW[report.correction]}). Flips are items right in A and wrong in {name} / "
        f"wrong in A and right in {name}.</p>"
    )
    for task, metric in comparison.measures:
        mine = comparison.of(task, metric)
        shown = [*([means[task, metric]] if (task, metric) in means else []), *mine]
        first = shown[0]
        counts = ", ".join(
            f'<span class="{verdict}">{count} {verdict}</span>'
            for verdict in ("better", "worse", "changed")
            if (count := sum(each.verdict == verdict for each in mine))
        )
        if not counts:
            untested = all(math.isnan(each.p) for each in mine)
            counts = "not tested" if untested else "no language beyond luck"
        scale = scale_of(shown)
        yield (
            f"<details{' open' if any(each.verdict for each in mine) else ''}><summary>"
            f"<b>{escape(title_of(task, metric))}</b> {number(first.before)} → "
            f"{number(first.after)} ({signed(first.difference)}) · {counts} "
            f"({len(mine)} measured)</summary>"
        )
        yield _differences(shown, scale) + "</details>"
    yield "".join(f"<p class=dim>{escape(remark)}</p>" for remark in remarks(report, comparison))


def _differences(shown: Sequence[Difference], scale: float) -> str:
    flipped = any(flips(each) for each in shown)
    titles = ("", "before", "after", "change", f"95 % interval, ± {number(scale)}", "")
    more = ("p", "corrected", "n", *(("flips",) if flipped else ()))
    head = "".join(f"<th>{escape(title)}</th>" for title in (*titles, *more))
    lines = []
    for each in shown:
        name = "Mean" if each.language is None else f"{get(each.language).name} ({each.language})"
        values = [
            with_error(value, stderr)
            for value, stderr in zip((each.before, each.after), each.stderrs, strict=True)
        ]
        adjusted = "" if each.language is None else p_value(each.adjusted)
        after = [interval(each), p_value(each.p), adjusted, str(each.n)]
        after += [flips(each)] if flipped else []
        lines.append(
            f"<tr><td>{escape(name)}</td>{cells(values)}"
            f'<td class="{each.verdict}">{signed(each.difference)}</td>'
            f"<td>{interval_chart(each, -scale, scale)}</td>{cells(after)}</tr>"
        )
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _tokens(tokens: int | None) -> str:
    return NOTHING if tokens is None else f"{short(tokens)} tokens"
