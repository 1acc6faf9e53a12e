"""Parallel coordinates as SVG: an axis for each swept key, the last one for the result.

A line is a setting; the best one is drawn over the others. Dots at its end are its runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from marco.evaluation.task_table import NOTHING, number

_STEP, _HEIGHT = 150, 320
_TOP, _BOTTOM, _LEFT, _RIGHT = 44, 16, 118, 72
#: So many values of a key are written out; of more numbers only some.
_WRITTEN = 8
#: Characters of a label that fit between two axes.
_LABEL = 17


@dataclass(frozen=True)
class Axis:
    """A key's axis.

    Attributes:
        title: of the axis.
        at: a value's height, from 0 at the bottom to 1.
        ticks: values that are written beside it.
    """

    title: str
    at: Callable[[str], float]
    ticks: Sequence[str]


def axis_of(title: str, values: Sequence[str]) -> Axis:
    """Return the axis of a swept key: few values stand evenly, many numbers where they are.

    Numbers rise; of positive ones over more than a decade the logarithm does. Other values stand
    in the order in which they come, the first one on top.
    """
    distinct = list(dict.fromkeys(values))
    numbers = {value: found for value in distinct if (found := _number(value)) is not None}
    if len(distinct) - len(numbers) <= (NOTHING in distinct) and len(numbers) > 1:
        rising = sorted(numbers, key=lambda value: numbers[value])
        if len(numbers) > _WRITTEN:
            return _continuous(title, numbers, rising)
        distinct = [*[value for value in distinct if value not in numbers], *rising]
    else:
        distinct.reverse()
    heights = {value: (place + 0.5) / len(distinct) for place, value in enumerate(distinct)}
    return Axis(title, lambda value: heights[value], distinct)


def parallel(
    keys: Sequence[str],
    settings: Sequence[Sequence[str]],
    results: Sequence[Sequence[float]],
    *,
    title: str,
    lower: bool,
) -> str:
    """Return the drawing.

    Args:
        keys: what was swept.
        settings: of each setting, from the best to the worst, its values.
        results: of each setting, the result of each run.
        title: of the last axis.
        lower: whether lower results are better; better is on top.
    """
    axes = [axis_of(key, [of[place] for of in settings]) for place, key in enumerate(keys)]
    every = [value for of in results for value in of]
    least, most = min(every), max(every)
    span = (most - least) or 1.0

    def share(result: float) -> float:
        up = (result - least) / span if most > least else 0.5
        return 1 - up if lower else up

    lines, labels = [], []
    for place, axis in enumerate(axes):
        lines.append(_line(place))
        labels.append(_labels(place, axis.title, [(axis.at(tick), tick) for tick in axis.ticks]))
    ends = [(share(value), number(value)) for value in dict.fromkeys((least, most))]
    lines.append(_line(len(axes)))
    labels.append(_labels(len(axes), title, ends, right=True))
    for place in reversed(range(len(settings))):
        of, values = settings[place], results[place]
        mean = math.fsum(values) / len(values)
        points = [(_x(i), _y(axis.at(of[i]))) for i, axis in enumerate(axes)]
        points.append((_x(len(axes)), _y(share(mean))))
        # the further from the best, the fainter
        kind = (
            ' class="best"'
            if place == 0
            else f' opacity="{0.8 - 0.45 * place / len(settings):.2f}"'
        )
        words = " ".join(f"{key}={value}" for key, value in zip(keys, of, strict=True))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(
            f'<circle cx="{_x(len(axes)):.1f}" cy="{_y(share(value)):.1f}" r="3"/>'
            for value in values
        )
        lines.append(
            f"<g{kind}><title>{place + 1}. {escape(words)}: {number(mean)}</title>"
            f'<polyline points="{path}"/>{dots}</g>'
        )
    width = _x(len(axes)) + _RIGHT
    size = f"min-width:{0.85 * width:.0f}px;max-width:{1.4 * width:.0f}px"
    return (
        f'<div class="scroll"><svg class="parallel" viewBox="0 0 {width} {_HEIGHT}" '
        f'style="{size}" role="img" '
        f'aria-label="{escape(title)} of every setting">{"".join([*lines, *labels])}</svg></div>'
    )


def _line(place: int) -> str:
    x = _x(place)
    return f'<line class="axis" x1="{x}" x2="{x}" y1="{_y(1)}" y2="{_y(0)}"/>'


def _labels(place: int, title: str, ticks: Sequence[tuple[float, str]], right: bool = False) -> str:
    x = _x(place)
    side, anchor = (8, "start") if right else (-8, "end")
    values = "".join(
        f'<text x="{x + side}" y="{_y(at) + 4:.1f}" text-anchor="{anchor}">'
        f"<title>{escape(text)}</title>{escape(_short(text))}</text>"
        for at, text in ticks
    )
    return (
        f'{values}<text class="key" x="{x}" y="{_TOP - 22}" text-anchor="middle">'
        f"<title>{escape(title)}</title>{escape(_short(title, 22))}</text>"
    )


def _x(place: int) -> int:
    return _LEFT + _STEP * place


def _y(share: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)


def _short(text: str, length: int = _LABEL) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _continuous(title: str, numbers: dict[str, float], rising: Sequence[str]) -> Axis:
    low, high = numbers[rising[0]], numbers[rising[-1]]
    scale = math.log if low > 0 and high >= 10 * low else float
    bottom, span = scale(low), scale(high) - scale(low)

    def at(value: str) -> float:
        return (scale(numbers[value]) - bottom) / span if value in numbers else 0.0

    ticks: list[str] = []
    for value in (rising[0], rising[-1], *rising[1:-1]):
        if all(abs(at(value) - at(other)) > 1 / _WRITTEN for other in ticks):
            ticks.append(value)
    return Axis(title, at, ticks)
