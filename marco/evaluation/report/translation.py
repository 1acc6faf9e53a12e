"""What translates into what: source × target, or English and the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from marco.evaluation.compare.tables import signed
from marco.evaluation.history import Evaluation
from marco.evaluation.page_parts import table
from marco.evaluation.report.measures import name_of
from marco.evaluation.task_table import NOTHING, OF_TEXTS, heading, number

#: Sources or targets that a page still shows as a square.
MOST = 64

Directions = dict[tuple[str, str], dict[tuple[str, str], float]]


def translations(history: Sequence[Evaluation]) -> Iterator[str]:
    """Yield a table for every task that translates and each of its metrics, of the last evaluation.

    Nothing where no task does. Changes are against the first evaluation.
    """
    if not history:
        return
    first, last = _directions(history[0]), _directions(history[-1])
    for key, found in last.items():
        task, metric = key
        yield f"<h3>{escape(heading(task))}, {escape(metric)}</h3>"
        before = first.get(key, {}) if len(history) > 1 else {}
        if all("eng" in pair for pair in found):
            yield _with_english(found, before)
        elif len({pair[0] for pair in found} | {pair[1] for pair in found}) > MOST:
            yield (
                f"<p>{len(found)} directions, too many to show: they are in "
                "<code>evaluations/</code>.</p>"
            )
        else:
            yield _square(found, before)


def _directions(evaluation: Evaluation) -> Directions:
    found: Directions = {}
    for row in evaluation.rows:
        if row.source is not None and row.value is not None and row.metric not in OF_TEXTS:
            found.setdefault((row.task, row.metric), {})[row.source, row.language] = row.value
    return found


def _with_english(
    found: Mapping[tuple[str, str], float], before: Mapping[tuple[str, str], float]
) -> str:
    codes = dict.fromkeys(code for pair in found for code in pair if code != "eng")

    def cell(pair: tuple[str, str]) -> str:
        value, old = found.get(pair), before.get(pair)
        if value is None or old is None:
            return number(value)
        return f"{number(old)} → {number(value)} ({signed(value - old)})"

    lines = [(name_of(code), cell(("eng", code)), cell((code, "eng"))) for code in codes]
    return table(("", "from English", "into English"), lines, tall=True)


def _square(found: Mapping[tuple[str, str], float], before: Mapping[tuple[str, str], float]) -> str:
    sources = list(dict.fromkeys(source for source, _ in found))
    into = dict.fromkeys(target for _, target in found)
    targets = sorted(into, key=lambda code: sources.index(code) if code in sources else len(into))
    most = max(map(abs, found.values())) or 1.0
    lines = []
    for source in sources:
        cells = "".join(_cell((source, to), found, before, most) for to in targets)
        lines.append(f"<tr><td>{escape(name_of(source))}</td>{cells}</tr>")
    head = "".join(f'<th title="{escape(name_of(to))}">{escape(to)}</th>' for to in targets)
    return (
        '<p class="dim">From (down) into (across); the stronger the colour, the higher.</p>'
        f'<div class="scroll"><table class="heat"><tr><th></th>{head}</tr>{"".join(lines)}'
        "</table></div>"
    )


def _cell(
    pair: tuple[str, str],
    found: Mapping[tuple[str, str], float],
    before: Mapping[tuple[str, str], float],
    most: float,
) -> str:
    value = found.get(pair)
    if value is None:
        return f'<td class="none">{NOTHING}</td>'
    title = f"{name_of(pair[0])} into {name_of(pair[1])}: {number(value)}"
    if pair in before:
        title += f", at first {number(before[pair])}"
    return (
        f'<td class="level" style="--w:{abs(value) / most:.2f}" title="{escape(title)}">'
        f"{number(value)}</td>"
    )
