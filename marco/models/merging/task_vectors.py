"""Adding what models learnt: differences from a common base, thinned out, agreed on, summed.

Task arithmetic (arXiv 2212.04089) sums the differences. TIES (arXiv 2306.01708) keeps the largest
of each, elects a sign for every value, and averages those that have it. DARE (arXiv 2311.03099)
drops some at random, and sums (linear) or elects (ties).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from marco.models.merging.passes import Combine, How, Pass, Prepare
from marco.models.merging.sparsify import Largest, Random, Sparsifier

Keep = Literal["all", "largest", "random"]


def task_vectors(keep: Keep, *, elect: bool) -> Prepare:
    """Return the method that keeps `keep` of each difference, and elects signs or doesn't."""
    return partial(_prepare, keep=keep, elect=elect)


def _prepare(pieces: Pass, how: How, *, keep: Keep, elect: bool) -> Combine:
    thinning = _look(pieces, how, keep)

    def combine(models: list[Tensor]) -> Tensor:
        base, *others = models
        deltas = [
            thin(other - base).mul_(weight)
            for thin, weight, other in zip(thinning, how.weights, others, strict=True)
        ]
        mixed = _elected(deltas, how) if elect else _summed(deltas, how)
        return mixed.mul_(how.scale).add_(base)

    return combine


def _look(pieces: Pass, how: How, keep: Keep) -> list[Callable[[Tensor], Tensor]]:
    """Let every sparsifier see its whole task vector; return what thins out each."""
    found = [_sparsifier(how, number, keep) for number in range(len(how.weights))]
    working = [each for each in found if each is not None]
    for number in range(max((each.passes for each in working), default=0)):
        for base, *others in pieces():
            for sparsifier, other in zip(found, others, strict=True):
                if sparsifier is not None:
                    sparsifier.observe(other - base, number)
        for each in working:
            each.settle(number)
    return [_whole if each is None else each.keep for each in found]


def _sparsifier(how: How, model: int, keep: Keep) -> Sparsifier | None:
    density = how.density[model]
    if keep == "all" or density == 1:
        return None
    if keep == "largest":
        return Largest(density, how.count)
    return Random(density, how.seeds[model], how.rescale)


def _whole(delta: Tensor) -> Tensor:
    return delta


def _summed(deltas: Sequence[Tensor], how: How) -> Tensor:
    total = torch.stack(list(deltas)).sum(0)
    weight = sum(how.weights)
    return total.div_(weight) if how.normalise and abs(weight) >= 1e-8 else total


def _elected(deltas: Sequence[Tensor], how: How) -> Tensor:
    """Sum, or average, the values whose sign is that of their sum; a sum of zero elects plus."""
    stacked = torch.stack(list(deltas))
    majority = torch.where(stacked.sum(0) >= 0, 1.0, -1.0)
    agree = stacked.sign() == majority
    mixed = (stacked * agree).sum(0)
    if how.normalise:
        weights = torch.tensor(how.weights).view(-1, *[1] * majority.ndim)
        divisor = (weights * agree).sum(0)
        mixed.div_(torch.where(divisor == 0, 1.0, divisor))
    return mixed
