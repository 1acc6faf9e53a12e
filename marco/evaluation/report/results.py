"""What came out: of every metric, of every language and metric, and of the anchors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from marco.evaluation.compare.tables import signed
from marco.evaluation.page_parts import table
from marco.evaluation.report.measures import Change, Measure, group_of, in_order, name_of
from marco.evaluation.task_table import NOTHING, heading, number

_ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}


def outcomes(measures: Sequence[Measure], since: str) -> str:
    """Return a line for every metric: its mean, who gained and who lost; ``since``: in words."""
    lines = [line for measure in measures if (line := _outcome(measure)) is not None]
    if not lines:
        return "<p>Nothing was evaluated twice, so there is no change to show.</p>"
    head = ("", since, "at the end", "change", "better", "worse", "gained most", "lost most")
    return f"{_key()}{table(head, lines)}"


def heat_map(measures: Sequence[Measure]) -> str:
    """Return the table language × metric; colours are the change, each metric by its largest."""
    shown = [measure for measure in measures if measure.changes()]
    if not shown:
        return ""
    columns = [{each.language: each for each in measure.changes()} for measure in shown]
    scales = [
        max((abs(each.gain or 0) for each in column.values()), default=0) or 1 for column in columns
    ]
    titles = "".join(f"<th>{escape(_title(measure))}</th>" for measure in shown)
    means = _cells("Mean", [measure.mean_change() for measure in shown], scales, shown)
    lines = [f'<tr class="mean"><td>Mean</td><td></td>{means}</tr>']
    codes = dict.fromkeys(code for measure in shown for code in measure.values)
    for code in in_order(codes):
        found = _cells(name_of(code), [column.get(code) for column in columns], scales, shown)
        name, group = escape(name_of(code)), escape(group_of(code))
        lines.append(
            f'<tr><td>{name} <span class="dim">{escape(code)}</span></td><td>{group}</td>{found}'
            "</tr>"
        )
    return (
        '<div class="scroll tall"><table class="heat sort"><thead><tr><th>Language</th>'
        f"<th>group</th>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def retention(measures: Sequence[Measure], anchors: Sequence[str]) -> str:
    """Return every metric of the languages that should not get worse."""
    lines = []
    for measure in measures:
        found = {each.language: each for each in measure.changes() if each.gain is not None}
        cells = []
        for code in anchors:
            each = found.get(code)
            if each is None:
                cells.append(f"<td>{NOTHING}</td>")
            else:
                how = f"{number(each.before)} → {number(each.after)} ({signed(each.difference)})"
                cells.append(f'<td class="{_verdict(each)}">{how}</td>')
        if any(code in found for code in anchors):
            lines.append(f"<tr><td>{escape(_title(measure))}</td>{''.join(cells)}</tr>")
    names = " and ".join(map(name_of, anchors))
    if not lines:
        return f"<p>Nothing was measured twice in {escape(names)}.</p>"
    head = "".join(f"<th>{escape(name_of(code))}</th>" for code in anchors)
    return f'<div class="scroll"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'


def _outcome(measure: Measure) -> Sequence[str] | None:
    mean = measure.mean_change()
    if mean is None:
        return None
    changes = [each for each in measure.changes() if each.gain is not None]
    gained = [each for each in changes if (each.gain or 0) > 0]
    lost = [each for each in changes if (each.gain or 0) < 0]
    return (
        _title(measure),
        number(mean.before),
        number(mean.after),
        signed(mean.difference),
        str(len(gained)) if changes else NOTHING,
        str(len(lost)) if changes else NOTHING,
        _named(gained[0]) if gained else NOTHING,
        _named(lost[-1]) if lost else NOTHING,
    )


def _key() -> str:
    return (
        '<p class="dim">Arrows say which way is better; better and worse count the languages that '
        "moved, by however little. Which moved by more than luck, and against another run: "
        "<code>marco compare</code>.</p>"
    )


def _cells(
    name: str, changes: Sequence[Change | None], scales: Sequence[float], shown: Sequence[Measure]
) -> str:
    return "".join(_each(name, changes, scales, shown))


def _each(
    name: str, changes: Sequence[Change | None], scales: Sequence[float], shown: Sequence[Measure]
) -> Iterator[str]:
    for change, scale, measure in zip(changes, scales, shown, strict=True):
        if change is None:
            yield f'<td class="none">{NOTHING}</td>'
            continue
        share = min(1.0, abs(change.gain or 0) / scale)
        title = f"{name}, {heading(measure.name)}: {number(change.before)} → {number(change.after)}"
        yield (
            f'<td class="{_verdict(change)}" style="--w:{share:.2f}" title="{escape(title)}" '
            f'data-v="{change.after:.6g}">{number(change.after)} '
            f"<small>{signed(change.difference)}</small></td>"
        )


def _verdict(change: Change) -> str:
    if not change.gain:
        return "same"
    return "better" if change.gain > 0 else "worse"


def _title(measure: Measure) -> str:
    return heading(measure.name) + _ARROWS[measure.direction]


def _named(change: Change) -> str:
    return f"{name_of(change.language or '')} {signed(change.difference)}"
