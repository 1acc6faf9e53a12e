"""The training batches: one global order of sequences, cut the same way on any machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from marco.data.global_order import POSITION, GlobalOrder, MakeOrder, Row
from marco.data.packing import PackingName
from marco.data.stores import Source
from marco.data.windows import read_window

__all__ = ["POSITION", "Cut", "MicroBatch", "MixedBatches"]


class MicroBatch(TypedDict):
    """What one process gets at a time; tensors are [micro_sequences, length] int64.

    `target_tokens` is the number of targets in the *global* batch of the optimizer step that the
    micro-batch belongs to. `source` and `draw` ([micro_sequences] int64) say which sequence each
    row is, `counts` ([micro_sequences, fields]) what it adds to the ledger. `positions`
    ([sources, POSITION] int64) is where the data is after this optimizer step. `pieces`
    ([micro_sequences, most] int64) is where each piece of a row begins in its source's store, -1
    where a row has fewer; the global batch has `total_pieces`.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    source: Tensor
    draw: Tensor
    counts: Tensor
    positions: Tensor
    pieces: Tensor
    target_tokens: int
    total_pieces: int


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
        sources: what is mixed; their order numbers the rows' `source`.
        make_order: makes the order of sources (`marco.data.global_order.MakeOrder`).
        length: places per sequence.
        pack: how documents become sequences.
        cut: how a global batch is cut.
        seed: decides every shuffle.
        steps: optimizer steps to serve.
        token_bytes: [vocabulary], UTF-8 bytes that each token stands for.
        positions: by source, `POSITION`; null starts afresh.
        before: by source, sequences that came before the run's own (`GlobalOrder`).
    """

    def __init__(
        self,
        sources: Sequence[Source],
        make_order: MakeOrder,
        *,
        length: int,
        cut: Cut,
        seed: int,
        steps: int,
        token_bytes: NDArray[np.int64],
        pack: PackingName = "concat",
        positions: Mapping[str, Sequence[int]] | None = None,
        before: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.sources = list(sources)
        self.make_order = make_order
        self.length = length
        self.pack: PackingName = pack
        self.cut = cut
        self.seed = seed
        self.steps = steps
        self.token_bytes = token_bytes
        self.positions = dict(positions or {})
        self.before = dict(before or {})

    def __iter__(self) -> Iterator[MicroBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        order = GlobalOrder(
            self.sources,
            self.make_order,
            self.length,
            self.pack,
            self.seed,
            self.positions,
            self.before,
        )
        masked = [source.store.mask(0, 0) is not None for source in self.sources]
        number = 0
        for _ in range(self.steps):
            rows = [order.next() for _ in range(self.cut.sequences)]
            targets = sum(self._targets(row, masked[row.source]) for row in rows)
            total = targets, sum(len(row.pieces) for row in rows)
            positions = order.positions
            for micro in range(self.cut.accumulation):
                if number % workers == worker:
                    yield self._micro(rows[self.cut.rows(micro)], positions, total)
                number += 1

    def _targets(self, row: Row, masked: bool) -> int:
        if not masked:
            return row.tokens
        masks = [self.sources[row.source].store.mask(*piece) for piece in row.pieces]
        return sum(int(mask.sum()) for mask in masks if mask is not None)

    def _micro(
        self, rows: list[Row], positions: list[tuple[int, ...]], total: tuple[int, int]
    ) -> MicroBatch:
        windows = [
            read_window(self.sources[row.source], row.pieces, self.length, self.token_bytes)
            for row in rows
        ]
        pieces = np.full((len(rows), max(len(row.pieces) for row in rows)), -1)
        for place, row in enumerate(rows):
            pieces[place, : len(row.pieces)] = [start for start, _ in row.pieces]
        return {
            "input_ids": torch.from_numpy(np.stack([window.input_ids for window in windows])),
            "position_ids": torch.from_numpy(np.stack([window.position_ids for window in windows])),
            "labels": torch.from_numpy(np.stack([window.labels for window in windows])),
            "source": torch.tensor([row.source for row in rows]),
            "draw": torch.tensor([row.draw for row in rows]),
            "counts": torch.from_numpy(np.stack([window.counts for window in windows])),
            "positions": torch.tensor(positions),
            "pieces": torch.from_numpy(pieces),
            "target_tokens": total[0],
            "total_pieces": total[1],
        }
