"""Which values of a task vector are kept: the largest (TIES), or some at random (DARE).

A sparsifier sees the vector piece by piece: `passes` times to look at it, then to thin it out.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from marco.models.merging.passes import Rescale

_HIGH, _LOW = 1 << 15, 1 << 16  # a positive float's upper and lower bits


class Sparsifier(Protocol):
    """Sees every piece of a task vector `passes` times, in order, and then once to keep some."""

    passes: int

    def observe(self, delta: Tensor, number: int) -> None:
        """Look at a piece in pass `number`, from 0."""

    def settle(self, number: int) -> None:
        """Pass `number` is over."""

    def keep(self, delta: Tensor) -> Tensor:
        """Return the piece with what is dropped set to zero."""


class Largest:
    """Keeps the `density` of the values that are the largest in magnitude (arXiv 2306.01708).

    The threshold is exact, and found without sorting: positive floats are ordered as their bits
    are, so one pass counts the upper halves of the bits, and a second the lower halves of those
    that share the upper half in question. Of equal values the first are kept.
    """

    passes = 2

    def __init__(self, density: float, count: int) -> None:
        """Of `count` values keep `density`, rounded down, but one at least."""
        self._left = max(1, int(density * count))
        self._high = 0
        self._threshold = 0
        self._counts = torch.zeros(_HIGH, dtype=torch.int64)

    def observe(self, delta: Tensor, number: int) -> None:
        """Count the upper halves of the bits, or the lower ones."""
        bits = _bits(delta)
        if number == 0:
            self._counts += torch.bincount(bits >> 16, minlength=_HIGH)
        else:
            shared = bits[bits >> 16 == self._high] & (_LOW - 1)
            self._counts += torch.bincount(shared, minlength=_LOW)

    def settle(self, number: int) -> None:
        """Find the half in which the last value to be kept is."""
        from_above = self._counts.flip(0).cumsum(0)
        above = int((from_above < self._left).sum())
        if above:
            self._left -= int(from_above[above - 1])
        found = len(self._counts) - 1 - above
        if number == 0:
            self._high = found
            self._counts = torch.zeros(_LOW, dtype=torch.int64)
        else:
            self._threshold = self._high << 16 | found

    def keep(self, delta: Tensor) -> Tensor:
        """Keep what is above the threshold, and as many that equal it as are wanted."""
        bits = _bits(delta)
        kept = bits > self._threshold
        equal = (bits == self._threshold).nonzero().flatten()[: self._left]
        kept[equal] = True
        self._left -= len(equal)
        return delta * kept.view_as(delta)


class Random:
    """Drops values at random and makes the others larger for it (DARE, arXiv 2311.03099).

    With `rescale` "l1" the sum of magnitudes stays what it was, as mergekit has it; "density"
    divides by the density, as the paper has it; over many values both come to the same.
    """

    def __init__(self, density: float, seed: int, rescale: Rescale) -> None:
        self.passes = 1 if rescale == "l1" else 0
        self._density = density
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)
        self._sums = [0.0, 0.0]
        self._factor = 1 / density if rescale == "density" else 1.0

    def observe(self, delta: Tensor, number: int) -> None:
        """Sum the magnitudes of all, and of those that will be kept."""
        magnitudes = delta.abs()
        self._sums[0] += float(magnitudes.sum(dtype=torch.float64))
        self._sums[1] += float((magnitudes * self._draw(delta)).sum(dtype=torch.float64))

    def settle(self, number: int) -> None:
        """Set the factor of those that are kept."""
        whole, kept = self._sums
        if min(whole, kept) >= 1e-7:
            self._factor = whole / kept
        self._generator.manual_seed(self._seed)  # the same are kept as were counted

    def keep(self, delta: Tensor) -> Tensor:
        """Draw which of a piece stay."""
        return (delta * self._draw(delta)).mul_(self._factor)

    def _draw(self, delta: Tensor) -> Tensor:
        return torch.rand(delta.shape, generator=self._generator) < self._density


def _bits(delta: Tensor) -> Tensor:
    return delta.abs().flatten().view(torch.int32)
