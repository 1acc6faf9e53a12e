"""The heat map: language × evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marco.evaluation.history import Evaluation
from marco.evaluation.numbers import short
from marco.evaluation.plot_style import log_ticks, new_figure, ordered, save
from marco.evaluation.rows import better, measured
from marco.evaluation.scalars import OWN, series
from marco.languages import get

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: marco's own metrics that have a panel; of the other tasks, the first metric has.
TITLES = {"bits_per_byte": "Bits per byte", "lexicon_accuracy": "Lexicon accuracy"}
#: More would be a picture that nobody can read; the table has them all.
MOST_PANELS = 6


def heatmap(path: Path, history: Sequence[Evaluation]) -> bool:
    """Draw language × evaluation: bits per byte, lexicon accuracy, and each task's first metric.

    Returns whether there was anything to draw.
    """
    shown = _panels(history)
    if not shown:
        return False
    languages = ordered({row.language for e in history for row in e.rows})
    cell = 0.62 if len(history) <= 12 else max(0.12, 7.5 / len(history))
    height = 0.25 if len(languages) <= 60 else 0.16
    width = max(1.9, cell * len(history))
    figure = new_figure(2.0 + (width + 1.0) * len(shown), 1.5 + height * max(len(languages), 4))
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axis, (task, metric, title) in zip(axes, shown, strict=True):
        _panel(figure, axis, history, languages, (task, metric), title)
    save(figure, path)
    return True


def _panels(history: Sequence[Evaluation]) -> list[tuple[str, str, str]]:
    """Return the task, metric and title of each panel that there is a value for."""
    names = series([row for evaluation in history for row in evaluation.rows])
    return [
        (task, metric, TITLES.get(name, name))
        for name, (task, metric) in names.items()
        if (name in TITLES or (task not in OWN and name == task))
        and any(measured(evaluation.rows, metric, task) for evaluation in history)
    ][:MOST_PANELS]


def _panel(
    figure: Figure,
    axis: Axes,
    history: Sequence[Evaluation],
    languages: list[str],
    of: tuple[str, str],
    title: str,
) -> None:
    import matplotlib as mpl
    import numpy as np
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    task, metric = of
    values = np.full((len(languages), len(history)), np.nan)
    for column, evaluation in enumerate(history):
        found = measured(evaluation.rows, metric, task)
        for row, language in enumerate(languages):
            values[row, column] = found.get(language, math.nan)
    colours = mpl.colormaps["viridis_r" if better(metric) == "lower" else "viridis"]
    colours = colours.with_extremes(bad="#eeeeee")
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    logarithmic = metric == "bits_per_byte" and 0 < low < high
    norm = mpl.colors.LogNorm(low, high) if logarithmic else mpl.colors.Normalize(low, high)
    image = axis.imshow(values, aspect="auto", cmap=colours, norm=norm, interpolation="nearest")
    names = [get(language).name for language in languages]
    small = len(languages) > 60
    axis.set_yticks(range(len(languages)), names, fontsize=6 if small else 8.5)
    step = max(1, -(-len(history) // 12))
    ticks = range(0, len(history), step)
    axis.set_xticks(ticks, [short(history[index].tokens) for index in ticks], fontsize=8)
    axis.set_xlabel("Training tokens")
    axis.set_title(title, fontsize=10, loc="left", fontweight="bold")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    groups = [get(language).group for language in languages]
    for row in range(1, len(languages)):
        if groups[row] != groups[row - 1]:
            axis.axhline(row - 0.5, color="white", linewidth=2.5)
    if len(history) <= 12 and not small:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                red, green, blue, _ = image.cmap(image.norm(value))
                dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.46
                colour = "white" if dark else "black"
                text = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
                axis.text(column, row, text, ha="center", va="center",
                          fontsize=7.5, color=colour)  # fmt: skip
    bar = figure.colorbar(image, ax=axis, shrink=min(1.0, 12 / len(languages)), pad=0.03)
    bar.outline.set_visible(False)
    if logarithmic:
        round_values = log_ticks(low, high)
        bar.set_ticks(round_values, labels=[f"{value:g}" for value in round_values])
        bar.minorticks_off()
    else:
        bar.locator = MaxNLocator(5)
        bar.formatter = StrMethodFormatter("{x:.2f}")
        bar.update_ticks()
    bar.ax.tick_params(labelsize=7, length=2)
