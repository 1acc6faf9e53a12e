"""What all plots share: the figure, the order and names of languages, writing the file.

Colours are told apart with any colour vision (Okabe and Ito's set, and viridis), lines are labelled
where they end instead of in a legend, and names are Latin, so that any font has them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from marco.languages import GROUPS, get
from marco.mixing.sources import resource_group

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What resource groups are called in plots and tables.
GROUP_TITLES = {
    "english": "English",
    "chinese": "Chinese",
    "high": "High-resource",
    "low": "Low-resource",
}


def display_name(source: str) -> str:
    """Return a language's name; a source that is no language has its own."""
    return source if resource_group(source) is None else get(source).name


def group_title(source: str) -> str:
    """Return the title of a language's resource group."""
    group = resource_group(source)
    return "Other sources" if group is None else GROUP_TITLES.get(group, group)


def ordered(sources: Iterable[str]) -> list[str]:
    """Sort languages by resource group, then by name; sources that are no language come last."""
    rank = {group: index for index, group in enumerate(GROUPS)}
    return sorted(
        sources,
        key=lambda name: (rank.get(resource_group(name) or "", len(rank)), display_name(name)),
    )


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers within [low, high], few enough to read beside a log scale."""
    from matplotlib.ticker import MaxNLocator

    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks
    # so short a stretch of the scale is as good as linear
    ticks = [float(tick) for tick in MaxNLocator(4).tick_values(low, high)]
    return [tick for tick in ticks if low <= tick <= high] or [low]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches.

    Without pyplot: nothing global, no display needed, no figure left open.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, beside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".tmp")
    figure.savefig(beside, format="png")
    os.replace(beside, path)
