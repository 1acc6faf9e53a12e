"""Drawings of a comparison as SVG inside of a page: intervals, and the training losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TypeGuard

from marco.evaluation.compare.losses import LossLine
from marco.evaluation.compare.measure import Difference
from marco.evaluation.numbers import short

_WIDTH, _HEIGHT = 720, 260
_LEFT, _BOTTOM = 52, 26
#: Okabe and Ito's colours, told apart with any colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("", "7 4", "2 4")


def scale_of(differences: Sequence[Difference]) -> float:
    """Return what the furthest end of all intervals is from zero."""
    ends = [
        abs(end) for d in differences for end in (d.difference, d.low, d.high) if end is not None
    ]
    return max(ends, default=0.0) or 1.0


def range_of(differences: Sequence[Difference]) -> tuple[float, float]:
    """Return the lowest and the highest end of all intervals, or zero if that is further."""
    ends = [end for d in differences for end in (d.difference, d.low, d.high) if end is not None]
    low, high = min(0.0, *ends, 0.0), max(0.0, *ends, 0.0)
    return (low, high) if low < high else (-1.0, 1.0)


def interval_chart(each: Difference, low: float, high: float) -> str:
    """Return a difference as a dot with its interval, on a line from ``low`` to ``high``."""

    def at(value: float) -> str:
        return f"{4 + 192 * (value - low) / (high - low):.1f}"

    line = ""
    if each.low is not None and each.high is not None:
        line = f'<line class="bar" x1="{at(each.low)}" x2="{at(each.high)}" y1="8" y2="8"/>'
    return (
        f'<svg class="interval {each.verdict}" viewBox="0 0 200 16" aria-hidden="true">'
        f'<line class="zero" x1="{at(0)}" x2="{at(0)}" y1="0" y2="16"/>{line}'
        f'<circle cx="{at(each.difference)}" cy="8" r="3.5"/></svg>'
    )


def loss_chart(lines: Sequence[LossLine], labels: Sequence[str]) -> str:
    """Return the losses of all runs over the tokens; a run's name stands in the legend.

    A loss that is not a number, of a run that diverged, is not drawn. Of more runs than colours
    the lines are dashed.
    """
    values = [value for line in lines for value in line.values if _is_number(value)]
    if not values:
        return '<p class="dim">No loss is a number.</p>'
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    last = lines[-1].tokens

    def x(tokens: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 8) * tokens / last

    def y(loss: float) -> float:
        return 8 + (_HEIGHT - _BOTTOM - 16) * (high - loss) / span

    parts = []
    for share in (0.0, 0.5, 1.0):
        loss, tokens = low + share * span, share * last
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y(loss):.1f}" '
            f'y2="{y(loss):.1f}"/><text x="{_LEFT - 6}" y="{y(loss) + 4:.1f}" '
            f'text-anchor="end">{loss:.2f}</text>'
        )
        anchor = ("start", "middle", "end")[round(2 * share)]
        parts.append(
            f'<text x="{x(tokens):.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">'
            f"{short(tokens)}{' tokens' if share == 1 else ''}</text>"
        )
    legend = []
    for index, label in enumerate(labels):
        colour = COLOURS[index % len(COLOURS)]
        points = [
            (x(line.tokens), y(value), line.tokens, value)
            for line in lines
            if _is_number(value := line.values[index])
        ]
        dashes = (
            f' stroke-dasharray="{_DASHES[turn]}"' if (turn := index // len(COLOURS) % 3) else ""
        )
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py, *_ in points)
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dashes} points="{path}"/>'
        )
        parts += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"><title>{escape(label)}: '
            f"{loss:.3f} up to {short(tokens)} tokens</title></circle>"
            for px, py, tokens, loss in points
        ]
        legend.append(f'<span><i style="background:{colour}"></i>{escape(label)}</span>')
    drawing = (
        f'<svg class="losses" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'
    )
    return f'{drawing}<p class="legend">{"".join(legend)}</p>'


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
