"""A ranking as one HTML page, which opens anywhere: no script, no network."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from html import escape

from marco.evaluation.compare.charts import interval_chart, range_of
from marco.evaluation.compare.page import STYLE
from marco.evaluation.compare.tables import interval, p_value, signed, with_error
from marco.evaluation.page_parts import document
from marco.evaluation.ranking.parallel import parallel
from marco.evaluation.ranking.report import Ranking
from marco.evaluation.ranking.settings import command, value_of
from marco.evaluation.ranking.show import heading, named, remarks, runs_of, verdict
from marco.evaluation.rows import better
from marco.evaluation.task_table import number
from marco.languages import get

_OWN = """
pre { background: var(--card); border-radius: .5rem; padding: .7rem .9rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
tr.best td { font-weight: 600; }
th.left { text-align: left; }
td.value { white-space: normal; min-width: 4rem; max-width: 26rem; overflow-wrap: break-word;
  text-align: left; }
svg.parallel { --line: #0072b2; width: 100%; height: auto; display: block; }
@media (prefers-color-scheme: dark) { svg.parallel { --line: #56b4e9; } }
.parallel .axis { stroke: var(--dim); stroke-width: 1.5; }
.parallel text { paint-order: stroke; stroke: var(--back); stroke-width: 4px; }
.parallel .key { font-weight: 600; fill: var(--ink); }
.parallel g { stroke: var(--line); fill: var(--line); }
.parallel .best { stroke: #e8710a; fill: #e8710a; }
.parallel polyline { fill: none; stroke-width: 1.5; }
.parallel .best polyline { stroke-width: 3.5; }
.parallel g:hover { opacity: 1; } .parallel g:hover polyline { stroke-width: 5; }
"""


def page(ranking: Ranking) -> str:
    """Return the page: the best, the drawing, the ranked table, the best of each language."""
    title = f"Sweep: {', '.join(ranking.keys) or 'seeds'}"
    body = f"<h1>{escape(title)}</h1>{''.join(_sections(ranking))}"
    return document(title, STYLE + _OWN, body)


def _sections(ranking: Ranking) -> Iterator[str]:
    ranked = ranking.order.ranked
    yield f"<p>By {escape(heading(ranking))}.</p><p>{escape(verdict(ranking))}</p>"
    yield f"<pre>{escape(command(ranked[0].setting))}</pre>"
    for wrong in ranking.order.mismatches:
        yield f'<p class="refused">No intervals, the items differ: {escape(str(wrong))}</p>'
    yield "".join(f'<p class="dim">{escape(remark)}</p>' for remark in remarks(ranking))
    if ranking.keys:
        yield parallel(
            ranking.keys,
            [each.setting.values for each in ranked],
            [each.values for each in ranked],
            title=ranking.metric,
            lower=better(ranking.metric) == "lower",
        )
        yield '<p class="dim">A line is a setting, a dot a run; the best lies over the rest.</p>'
    yield f"<h2>Settings</h2>{_settings(ranking)}"
    if ranking.keys and len(ranking.languages) > 1:
        yield f"<h2>The best setting of each language</h2>{_winners(ranking)}"
    if ranking.left_out:
        yield f"<h2>Not ranked</h2>{_left_out(ranking)}"


def _settings(ranking: Ranking) -> str:
    ranked = ranking.order.ranked
    known = [each.difference for each in ranked if each.difference is not None]
    reach = range_of(known)
    head = (
        "",
        *ranking.keys,
        "value",
        "runs",
        "to best",
        f"{signed(reach[0])} to {signed(reach[1])}",
        "95 % interval",
        "p",
    )
    lines = []
    for place, each in enumerate(ranked, 1):
        of = each.difference
        values = "".join(f'<td class="value">{escape(value)}</td>' for value in each.setting.values)
        names = ", ".join(run.name for run in each.setting.runs)
        compared = "<td></td>" * 4
        if of is not None:
            compared = (
                f'<td class="{of.verdict}">{signed(of.difference)}</td>'
                f"<td>{interval_chart(of, *reach)}</td>"
                f"<td>{escape(interval(of))}</td><td>{p_value(of.adjusted)}</td>"
            )
        lines.append(
            f"<tr{' class=best' * (place == 1)}><td>{place}</td>{values}"
            f"<td>{with_error(each.value, each.stderr)}</td>"
            f'<td title="{escape(names)}">{runs_of(each)}</td>{compared}</tr>'
        )
    return (
        f"{_table(head, lines, ranking.keys)}<p class=dim>Values are means over runs ± their "
        "standard error between seeds. To best: a setting's value less the best one's, with the "
        f"interval of each alone; p is corrected for having chosen the best of {len(ranked)}, and "
        f"a change is coloured where p ≤ {ranking.level:g}.</p>"
    )


def _winners(ranking: Ranking) -> str:
    lines = []
    for winner in ranking.order.winners:
        of = winner.difference
        best = ranking.order.ranked[winner.ranked]
        compared = "<td></td>" * 3
        if of is not None:
            compared = (
                f'<td class="{of.verdict}">{signed(of.difference)}</td>'
                f"<td>{escape(interval(of))}</td><td>{p_value(of.adjusted)}</td>"
            )
        lines.append(
            f"<tr><td>{escape(get(winner.language).name)} ({winner.language})</td>"
            f"<td>{winner.ranked + 1}</td>"
            f'<td class="value">{escape(named(ranking, best))}</td><td>{number(winner.value)}</td>'
            f"<td>{number(winner.overall)}</td>{compared}</tr>"
        )
    head = ("", "rank", "best setting", "value", "of the first", "change", "95 % interval", "p")
    first = sum(winner.ranked == 0 for winner in ranking.order.winners)
    return (
        f"<p>The first is the best in {first} of {len(lines)} languages.</p>"
        f"{_table(head, lines, ['best setting'])}<p class=dim>p is corrected for the choice among "
        "the settings, and for the number of languages (Holm).</p>"
    )


def _left_out(ranking: Ranking) -> str:
    lines = []
    for run in ranking.left_out:
        words = (run.name, *(value_of(run, key) for key in ranking.keys), run.problem or "")
        lines.append(
            f"<tr>{''.join(f'<td class=value>{escape(word)}</td>' for word in words)}</tr>"
        )
    head = ("run", *ranking.keys, "why")
    return _table(head, lines, head)


def _table(head: Sequence[str], lines: Sequence[str], left: Collection[str] = ()) -> str:
    titles = "".join(f"<th{' class=left' * (title in left)}>{escape(title)}</th>" for title in head)
    return f'<div class="scroll"><table><tr>{titles}</tr>{"".join(lines)}</table></div>'
