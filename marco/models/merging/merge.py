"""The checks of a merge, and the way of every tensor from the inputs to the output."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import torch

from marco.errors import ConfigError
from marco.models.merging.methods import Method
from marco.models.merging.passes import How
from marco.models.tensors.weights import Weights
from marco.models.tensors.writing import Layout, shards, write


@dataclass(frozen=True)
class Merge:
    """A merge that has been checked, ready to be written.

    Attributes:
        weights: of the base, where the method has one, and of every model.
        how: its seeds and count are filled in for each tensor.
        seed: of what is drawn at random: the same for the same tensor names, however they are
            sharded.
        dtype: of the result; None: that of the first of `weights`.
    """

    method: Method
    weights: tuple[Weights, ...]
    how: How
    seed: int
    dtype: torch.dtype | None
    max_shard_size: str

    def __post_init__(self) -> None:
        check_same(self.weights)
        shards(self._layout(), self.max_shard_size)

    def write(self, folder: Path) -> None:
        """Write the merged weights into a folder that exists."""
        layout = self._layout()
        with torch.inference_mode():
            write(folder, layout, shards(layout, self.max_shard_size), self.pieces)

    def pieces(self, name: str) -> Iterator[torch.Tensor]:
        """Yield the merged tensor in pieces of whole rows, in its final type."""
        stored = self.weights[0].tensors[name]
        dtype = self.dtype or stored.dtype
        models = len(self.weights) - self.method.base
        seeds = tuple(seed_of(self.seed, model, name) for model in range(models))
        with ExitStack() as stack:
            rows = [stack.enter_context(each.open(name)) for each in self.weights]

            def one_pass() -> Iterator[list[torch.Tensor]]:
                for start, stop in stored.ranges:
                    yield [read(start, stop).to(torch.float32) for read in rows]

            how = replace(self.how, seeds=seeds, count=prod(stored.shape))
            combine = self.method.prepare(one_pass, how)
            for tensors in one_pass():
                yield combine(tensors).to(dtype)

    def _layout(self) -> dict[str, Layout]:
        return {
            name: Layout(self.dtype or stored.dtype, stored.shape)
            for name, stored in self.weights[0].tensors.items()
        }


def check_same(models: Sequence[Weights]) -> None:
    """Raise ConfigError unless all models have tensors of the same names and shapes."""
    first = models[0]
    for other in models[1:]:
        problems = [
            f"{name} is only in {first.name}" for name in first.tensors.keys() - other.tensors
        ]
        problems += [
            f"{name} is only in {other.name}" for name in other.tensors.keys() - first.tensors
        ]
        problems += [
            f"{name} is {list(stored.shape)} in {first.name} and "
            f"{list(other.tensors[name].shape)} in {other.name}"
            for name, stored in first.tensors.items()
            if name in other.tensors and other.tensors[name].shape != stored.shape
        ]
        if problems:
            more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise ConfigError(f"Not the same tensors: {'; '.join(sorted(problems)[:3])}{more}.")


def seed_of(seed: int, model: int, name: str) -> int:
    """Return what seeds the choices in one tensor of one model."""
    digest = hashlib.sha256(f"{seed}/{model}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
