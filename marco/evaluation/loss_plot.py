"""Loss over tokens, one line a language, in a panel for every group or part of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.evaluation.numbers import short
from marco.evaluation.plot_style import (
    display_name,
    group_title,
    log_ticks,
    new_figure,
    ordered,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: {language: [(tokens, value), …]}
Series = Mapping[str, Sequence[tuple[float, float]]]

# Okabe and Ito (2008), without its yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
#: Lines in one panel that can still be followed.
PANEL_LINES = 10
#: Panels before lines are no longer told apart one by one.
MOST_PANELS = 12
LABELLED = 9


def losses(path: Path, series: Series, label: str) -> bool:
    """Draw one line a language over tokens, a panel for every group or part of one.

    Returns whether there was anything to draw.
    """
    series = {language: points for language, points in series.items() if points}
    if not series:
        return False
    panels = _panels(series)
    columns = min(len(panels), 3 if len(panels) <= 6 else 4)
    lines = -(-len(panels) // columns)
    figure = new_figure(max(4.6 * columns, 6.4), 4.3 * lines + 0.5)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for axis, (title, members) in zip(axes, panels, strict=False):
        _panel(axis, title, {language: series[language] for language in members})
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    values = [value for points in series.values() for _, value in points]
    end = max(tokens for points in series.values() for tokens, _ in points) or 1
    low, high = min(values), max(values)
    logarithmic = low > 0  # the last, small steps matter as much as the first, large ones
    for axis in axes:
        if logarithmic:
            ratio = max(high / low, 1.1) ** 0.06
            axis.set_yscale("log")
            axis.set_ylim(low / ratio, high * ratio)
            ticks = log_ticks(low / ratio, high * ratio)
            axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.minorticks_off()
        else:
            room = (high - low or 1) * 0.06
            axis.set_ylim(low - room, high + room)
        axis.set_xlim(-0.02 * end, end)
    for index, (axis, (_, members)) in enumerate(zip(axes, panels, strict=False)):
        if index + columns >= len(panels):
            axis.set_xlabel("Training tokens")
            axis.tick_params(labelbottom=True)
        _label_ends(axis, {language: series[language] for language in members})
    for row in grid:
        row[0].set_ylabel(label)
    save(figure, path)
    return True


def _panels(series: Series) -> list[tuple[str, list[str]]]:
    """Split languages into titled panels: by group, small neighbours together, large ones cut."""
    groups: list[tuple[str, list[str]]] = []
    for language in ordered(series):
        title = group_title(language)
        if groups and groups[-1][0] == title:
            groups[-1][1].append(language)
        else:
            groups.append((title, [language]))
    panels: list[tuple[str, list[str]]] = []
    for title, members in groups:
        if panels and len(panels[-1][1]) + len(members) <= PANEL_LINES:
            panels[-1] = (f"{panels[-1][0]}, {title}", panels[-1][1] + members)
        else:
            panels.append((title, members))
    cut = [part for title, members in panels for part in _cut(title, members, series)]
    return cut if len(cut) <= MOST_PANELS else panels


def _cut(title: str, members: list[str], series: Series) -> list[tuple[str, list[str]]]:
    if len(members) <= PANEL_LINES:
        return [(title, members)]
    ranked = sorted(members, key=lambda language: series[language][-1][1])
    parts = -(-len(ranked) // PANEL_LINES)
    size = -(-len(ranked) // parts)
    return [
        (f"{title} ({index + 1} of {parts}, best first)", ranked[index * size : (index + 1) * size])
        for index in range(parts)
    ]


def _panel(axis: Axes, title: str, series: Series) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    crowded = len(series) > PANEL_LINES
    labelled = _labelled(series)
    for language, (colour, dash) in _styles(series).items():
        x, y = zip(*series[language], strict=True)
        marker = "o" if len(x) <= 12 and not crowded else None
        shade = {"color": colour, "linestyle": dash, "linewidth": 1.5, "zorder": 3}
        if language not in labelled:
            shade = {"color": "#c4c4c4", "linewidth": 0.7, "zorder": 2}
        axis.plot(x, y, marker=marker, markersize=3, clip_on=False, **shade)
    axis.set_title(title, fontsize=10, loc="left", fontweight="bold")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.tick_params(labelsize=8, length=3, color="#999999")


def _styles(series: Series) -> dict[str, tuple[str, Any]]:
    labelled = _labelled(series)
    order = [language for language in series if language in labelled]
    styles = {
        language: (COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)])
        for index, language in enumerate(order)
    }
    return {language: styles.get(language, ("#c4c4c4", "-")) for language in series}


def _labelled(series: Series) -> set[str]:
    """The languages that get a colour and a name: all, or evenly spread from best to worst."""
    ranked = sorted(series, key=lambda language: series[language][-1][1])
    if len(ranked) <= PANEL_LINES:
        return set(ranked)
    last = len(ranked) - 1
    return {ranked[round(index * last / (LABELLED - 1))] for index in range(LABELLED)}


def _label_ends(axis: Axes, series: Series) -> None:
    """Write each line's language beside its end, pushed apart where ends are close."""
    labelled = _labelled(series)
    ends = sorted((series[language][-1][1], language) for language in labelled)
    shown = axis.transData.transform  # apart on paper, whatever the scale
    low, high = (float(shown((0, value))[1]) for value in axis.get_ylim())
    gap = 9.5 * axis.figure.dpi / 72
    pixels = spread([float(shown((0, value))[1]) for value, _ in ends], gap, low, high)
    places = [(pixel - low) / (high - low) for pixel in pixels]
    styles = _styles(series)
    for (value, language), place in zip(ends, places, strict=True):
        end = series[language][-1][0]
        axis.annotate(
            display_name(language),
            xy=(end, value),
            xytext=(1.045, place),
            textcoords="axes fraction",
            color=styles[language][0],
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": styles[language][0], "linewidth": 0.6,
                "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 2, "alpha": 0.6,
            },
        )  # fmt: skip


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move ascending values apart by at least ``gap``, within [low, high] as far as they fit.

    Blocks of values that touch are centred on the mean of what they stand for.
    """
    blocks: list[list[float]] = []  # [sum of (value − own offset), count]
    for value in values:
        blocks.append([value, 1.0])
        while len(blocks) > 1:
            (sum_a, n_a), (sum_b, n_b) = blocks[-2], blocks[-1]
            start_a, start_b = (_start(block[0], block[1], gap, low, high) for block in blocks[-2:])
            if start_b - start_a >= n_a * gap:
                break
            blocks[-2:] = [[sum_a + sum_b - n_b * n_a * gap, n_a + n_b]]
    return [
        _start(total, count, gap, low, high) + index * gap
        for total, count in blocks
        for index in range(round(count))
    ]


def _start(total: float, count: float, gap: float, low: float, high: float) -> float:
    return max(low, min(total / count, high - (count - 1) * gap))
