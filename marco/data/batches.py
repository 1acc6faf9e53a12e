"""The training batches: one global order of sequences, cut the same way on any machine.

Sequence g of the run is decided by the mix's order (which source) and by that source's packing
(which pieces of its tokens): both depend on the seed, the mix and the text alone, so the order is
the same for any number of processes and workers, and its state is a few counters per source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from marco.data.packing import Packing, PackingName, packing
from marco.data.stores import Source
from marco.data.windows import Piece, read_window

#: What the position of a source consists of: sequences and tokens served, and its packing's state.
POSITION = ("draws", "tokens", "part", "part_draw")


class MicroBatch(TypedDict):
    """What one process gets at a time; tensors are [micro_sequences, length] int64.

    `target_tokens` is the number of targets in the *global* batch of the optimizer step that the
    micro-batch belongs to. `source` and `draw` ([micro_sequences] int64) say which sequence each
    row is, `counts` ([micro_sequences, fields]) what it adds to the ledger. `positions`
    ([sources, POSITION] int64) is where the data is after this optimizer step.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    source: Tensor
    draw: Tensor
    counts: Tensor
    positions: Tensor
    target_tokens: int


class Order(Protocol):
    """Which source serves the next sequence (`marco.mixing.QuotaOrder`, `IidOrder`)."""

    @property
    def draws(self) -> list[int]:
        """Sequences served so far by each source."""

    @property
    def tokens(self) -> list[int]:
        """Tokens served so far by each source."""

    def next(self) -> int:
        """Return the index of the source."""

    def load_state_dict(self, state: Mapping[str, Sequence[int]]) -> None:
        """Go to where each source has served so many sequences and tokens."""


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


@dataclass(frozen=True)
class _Row:
    source: int
    draw: int
    pieces: list[Piece]


class MixedBatches(IterableDataset[MicroBatch]):
    """Micro-batches of `steps` optimizer steps, from a data position on.

    Args:
        sources: what is mixed; their order numbers the rows' `source`.
        order: makes the order of sources: called with `size(source, draw)`, the tokens of a
            sequence, or with None where all are of `length`.
        length: places per sequence.
        pack: how documents become sequences.
        cut: how a global batch is cut.
        seed: decides every shuffle.
        steps: optimizer steps to serve.
        token_bytes: [vocabulary], UTF-8 bytes that each token stands for.
        positions: by source, `POSITION`; null starts afresh.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        order: Callable[[Callable[[int, int], int] | None], Order],
        *,
        length: int,
        cut: Cut,
        seed: int,
        steps: int,
        token_bytes: NDArray[np.int64],
        pack: PackingName = "concat",
        positions: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.sources = list(sources)
        self.order = order
        self.length = length
        self.pack: PackingName = pack
        self.cut = cut
        self.seed = seed
        self.steps = steps
        self.token_bytes = token_bytes
        self.positions = {source.name: [0] * len(POSITION) for source in sources}
        self.positions.update({name: list(row) for name, row in (positions or {}).items()})

    def __iter__(self) -> Iterator[MicroBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        packings = self._packings()
        order = self._order(packings)
        masked = [source.store.mask(0, 0) is not None for source in self.sources]
        number = 0
        for _ in range(self.steps):
            rows = []
            for _ in range(self.cut.sequences):
                draws = list(order.draws)
                source = order.next()
                rows.append(_Row(source, draws[source], packings[source].pieces(draws[source])))
            targets = sum(self._targets(row, masked[row.source]) for row in rows)
            positions = [
                (draws, tokens, *packed.state)
                for draws, tokens, packed in zip(order.draws, order.tokens, packings, strict=True)
            ]
            for micro in range(self.cut.accumulation):
                if number % workers == worker:
                    yield self._micro(rows[self.cut.rows(micro)], positions, targets)
                number += 1

    def _packings(self) -> list[Packing]:
        packings = [packing(self.pack, source, self.length, self.seed) for source in self.sources]
        for source, packed in zip(self.sources, packings, strict=True):
            packed.restore(self.positions[source.name][2:])
        return packings

    def _order(self, packings: Sequence[Packing]) -> Order:
        def size(source: int, draw: int) -> int:
            return sum(stop - start for start, stop in packings[source].pieces(draw))

        order = self.order(None if self.pack == "concat" else size)
        order.load_state_dict({name: place[:2] for name, place in self.positions.items()})
        return order

    def _targets(self, row: _Row, masked: bool) -> int:
        if not masked:
            return sum(stop - start for start, stop in row.pieces)
        masks = [self.sources[row.source].store.mask(*piece) for piece in row.pieces]
        return sum(int(mask.sum()) for mask in masks if mask is not None)

    def _micro(
        self, rows: list[_Row], positions: list[tuple[int, ...]], targets: int
    ) -> MicroBatch:
        windows = [
            read_window(self.sources[row.source], row.pieces, self.length, self.token_bytes)
            for row in rows
        ]
        return {
            "input_ids": torch.from_numpy(np.stack([window.input_ids for window in windows])),
            "position_ids": torch.from_numpy(np.stack([window.position_ids for window in windows])),
            "labels": torch.from_numpy(np.stack([window.labels for window in windows])),
            "source": torch.tensor([row.source for row in rows]),
            "draw": torch.tensor([row.draw for row in rows]),
            "counts": torch.from_numpy(np.stack([window.counts for window in windows])),
            "positions": torch.tensor(positions),
            "target_tokens": targets,
        }
