"""The training batches: one global order of sequences, cut the same way on any machine.

Sequence g of the run is decided by the quota order (which language) and by that language's window
order (which window): both depend on the seed and the mix alone, so the order is the same for any
number of processes and workers, and its state is one counter per language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from marco.data.streams import TokenStream, WindowOrder
from marco.mixing.quota import QuotaOrder


class MicroBatch(TypedDict):
    """What one process gets at a time; tensors are [micro_sequences, length] int64.

    `target_tokens` is the number of targets in the *global* batch of the optimizer step that the
    micro-batch belongs to. `source` and `draw` ([micro_sequences] int64) say which window each
    row is. `counters` ([sources] int64) is the data position after this optimizer step.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    language_ids: Tensor
    source: Tensor
    draw: Tensor
    counters: Tensor
    target_tokens: int


@dataclass(frozen=True)
class Cut:
    """How a global batch is cut: `sequences` over processes and micro-batches.

    Attributes:
        sequences: sequences per optimizer step, over all processes.
        micro_sequences: sequences per forward on one process.
        rank: this process.
        world_size: data-parallel processes.
    """

    sequences: int
    micro_sequences: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.sequences % (self.micro_sequences * self.world_size):
            raise ValueError(f"{self} does not divide evenly.")

    @property
    def accumulation(self) -> int:
        """Micro-batches per optimizer step on each process."""
        return self.sequences // (self.micro_sequences * self.world_size)

    def rows(self, micro: int) -> slice:
        """Which sequences of the global batch are this process' `micro`-th micro-batch."""
        start = (micro * self.world_size + self.rank) * self.micro_sequences
        return slice(start, start + self.micro_sequences)


class MixedBatches(IterableDataset[MicroBatch]):
    """Micro-batches of `steps` optimizer steps, from a data position on.

    Args:
        streams: one per language; their order numbers the `language_ids`.
        shares: share of each language in the sequences.
        length: tokens per sequence.
        cut: how a global batch is cut.
        seed: decides the window permutations.
        steps: optimizer steps to serve.
        counters: sequences already served per language, to resume; null starts afresh.
    """

    def __init__(
        self,
        streams: Sequence[TokenStream],
        shares: Mapping[str, float],
        *,
        length: int,
        cut: Cut,
        seed: int,
        steps: int,
        counters: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.streams = list(streams)
        self.shares = {stream.language: shares[stream.language] for stream in streams}
        self.length = length
        self.cut = cut
        self.seed = seed
        self.steps = steps
        self.counters = dict(counters or {stream.language: 0 for stream in streams})

    def __iter__(self) -> Iterator[MicroBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        order = QuotaOrder(self.shares)
        order.load_state_dict(self.counters)
        windows = [WindowOrder(stream, self.length, self.seed) for stream in self.streams]
        number = 0
        for _ in range(self.steps):
            draws = list(order.counters)
            rows = []
            for source in order.take(self.cut.sequences):
                rows.append((source, draws[source]))
                draws[source] += 1
            for micro in range(self.cut.accumulation):
                if number % workers == worker:
                    yield self._micro(rows[self.cut.rows(micro)], windows, order.counters)
                number += 1

    def _micro(
        self, rows: list[tuple[int, int]], windows: list[WindowOrder], counters: Sequence[int]
    ) -> MicroBatch:
        cut = [windows[source].window(draw) for source, draw in rows]
        sources = torch.tensor([source for source, _ in rows])
        return {
            "input_ids": torch.from_numpy(np.stack([window.input_ids for window in cut])),
            "position_ids": torch.from_numpy(np.stack([window.position_ids for window in cut])),
            "labels": torch.from_numpy(np.stack([window.labels for window in cut])),
            "language_ids": sources[:, None].expand(len(rows), self.length).contiguous(),
            "source": sources,
            "draw": torch.tensor([draw for _, draw in rows]),
            "counters": torch.tensor(list(counters)),
            "target_tokens": self.cut.sequences * self.length,  # every token of a window has one
        }
