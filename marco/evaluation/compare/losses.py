"""Training losses of several runs on one axis of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marco.evaluation.compare.run import Run


class LossLine(NamedTuple):
    """The mean loss of each run over the tokens up to ``tokens``; None where it logged none."""

    tokens: int
    values: list[float | None]


def common_losses(runs: Sequence[Run], parts: int = 10) -> list[LossLine]:
    """Return the runs' mean losses over equal stretches of the tokens that all of them saw.

    A step's loss is of one batch; the mean over a stretch is of what the run saw there. Runs that
    logged no loss there have None; a stretch where none did is left out.
    """
    ends = [run.losses[-1][0] for run in runs if run.losses]
    if not ends:
        return []
    edges = np.linspace(0, min(ends), parts + 1)
    columns = [_means(run, edges) for run in runs]
    lines = [
        LossLine(round(edge), [column[index] for column in columns])
        for index, edge in enumerate(edges[1:].tolist())
    ]
    return [line for line in lines if any(value is not None for value in line.values)]


def _means(run: Run, edges: NDArray[np.float64]) -> list[float | None]:
    tokens = np.array([at for at, _ in run.losses])
    losses = np.array([loss for _, loss in run.losses])
    found: list[float | None] = []
    for low, high in pairwise(edges.tolist()):
        here = losses[(tokens > low) & (tokens <= high)]
        found.append(float(here.mean()) if len(here) else None)
    return found
