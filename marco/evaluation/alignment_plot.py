"""The heat map of the alignment probe: language × layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from marco.evaluation.alignment import Alignment
from marco.evaluation.plot_style import display_name, new_figure, ordered, save


def alignment_heatmap(path: Path, found: Sequence[Alignment], title: str = "") -> bool:
    """Draw every language's accuracy at every layer; returns whether there was anything to draw.

    Args:
        path: of the PNG.
        found: what one probe measured.
        title: behind the plot's own.
    """
    from matplotlib.ticker import MaxNLocator

    if not found:
        return False
    of_language = {each.language: each for each in found}
    rows = [of_language[code] for code in ordered(of_language)]
    layers = len(rows[0].accuracies)
    figure = new_figure(3.2 + max(2.5, 0.26 * layers), 1.5 + 0.25 * max(len(rows), 4))
    axis = figure.subplots()
    image = axis.imshow(
        [each.accuracies for each in rows], aspect="auto", vmin=0, vmax=1, interpolation="nearest"
    )
    axis.set_yticks(range(len(rows)), [display_name(each.language) for each in rows], fontsize=8.5)
    axis.plot([each.layer for each in rows], range(len(rows)), "w.", markersize=4)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("Layer (0: embeddings; dot: the best)")
    heading = "Paragraphs whose English translation is nearest"
    axis.set_title(f"{heading} {title}".rstrip(), fontsize=10, loc="left", fontweight="bold")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axis, shrink=min(1.0, 12 / len(rows)), pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=2)
    save(figure, path)
    return True
