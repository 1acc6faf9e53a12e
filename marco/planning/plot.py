"""A plan as one picture: the mix over tokens, the learning rate, and the epochs of each source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.evaluation.loss_plot import COLOURS
from marco.evaluation.numbers import short
from marco.evaluation.plot_style import GROUP_TITLES, new_figure, save
from marco.planning.cautions import MAX_EPOCHS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_plan(path: Path, plan: Mapping[str, Any]) -> None:
    """Write the PNG."""
    languages = plan["languages"]
    figure = new_figure(10, max(4.5, 1.2 + 0.2 * len(languages)))
    grid = figure.add_gridspec(2, 2, height_ratios=(2, 1))
    mix, rate = (figure.add_subplot(grid[row, 0]) for row in range(2))
    _mix(mix, plan["stages"])
    _learning_rate(rate, plan["stages"])
    _epochs(figure.add_subplot(grid[:, 1]), languages)
    figure.suptitle(plan["name"], x=0.01, ha="left", fontweight="bold")
    save(figure, path)


def _tokens(axis: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8, length=3, color="#999999")


def _mix(axis: Axes, stages: Sequence[Mapping[str, Any]]) -> None:
    """Shares of the groups, stacked, as they move; named by what they are at the end."""
    points = [point for stage in stages for point in stage["mix"]]
    heights = {group: [point["shares"][group] for point in points] for group in points[0]["shares"]}
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(heights))]
    at = [point["tokens"] for point in points]
    axis.stackplot(at, list(heights.values()), colors=colours, linewidth=0)
    bottom = 0.0
    for group, shares in heights.items():
        if shares[-1] > 0:
            middle = bottom + shares[-1] / 2
            title = f"{GROUP_TITLES.get(group, group)} {shares[-1]:.0%}"
            axis.annotate(title, (1.01, middle), xycoords="axes fraction", fontsize=8, va="center")
        bottom += shares[-1]
    for stage in stages[1:]:
        axis.axvline(stage["mix"][0]["tokens"], color="white", linewidth=0.8)
    axis.set(xlim=(0, at[-1]), ylim=(0, 1))
    axis.set_title("Share of the tokens", fontsize=10, loc="left")
    _tokens(axis)


def _learning_rate(axis: Axes, stages: Sequence[Mapping[str, Any]]) -> None:
    curve = [point for stage in stages for point in stage["learning_rate"]]
    at = [point["tokens"] for point in curve]
    axis.plot(at, [point["learning_rate"] for point in curve], color=COLOURS[0])
    end = stages[-1]["mix"][-1]["tokens"]
    axis.set(xlim=(0, end), ylim=(0, None), xlabel="Training tokens")
    axis.set_title("Learning rate", fontsize=10, loc="left")
    _tokens(axis)


def _epochs(axis: Axes, languages: Mapping[str, Mapping[str, Any]]) -> None:
    values = [one["epochs"] for one in languages.values()]
    many = [value > MAX_EPOCHS for value in values]
    colours = ["#d55e00" if above else COLOURS[0] for above in many]
    places = range(len(values))
    axis.barh(places, values, color=colours)
    axis.axvline(1, color="#777777", linewidth=0.8)
    if any(many):
        axis.axvline(MAX_EPOCHS, color="#d55e00", linewidth=0.8)
    axis.set_yticks(places, list(languages))
    axis.invert_yaxis()
    axis.margins(y=0.01)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8, length=3, color="#999999")
    axis.set_title("Epochs (lines: 1" + (f" and {MAX_EPOCHS:g})" if any(many) else ")"),
                   fontsize=10, loc="left")  # fmt: skip
