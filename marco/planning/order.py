"""How many tokens a run will serve of each source: the loader's own order, run without text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from marco.config import RunSettings
from marco.data.global_order import GlobalOrder
from marco.data.packing import packing, packs
from marco.data.stores import Source
from marco.mixing import MixSchedule

#: Beyond so many sequences (a few seconds) what the mix owes each source is taken instead.
SIMULATED = 300_000
#: Sequences of all sources together whose padding then stands for everyone's.
SAMPLED = 30_000


@dataclass(frozen=True)
class Served:
    """What is served of each source.

    Attributes:
        tokens: by source.
        padding: places of its sequences that hold nothing, by source.
        exact: whether the order was run; else it is what the mix owes, and padding as in a sample.
    """

    tokens: dict[str, int]
    padding: dict[str, int]
    exact: bool

    @property
    def total(self) -> int:
        """Tokens of all sources."""
        return sum(self.tokens.values())


def served(
    run: RunSettings, schedule: MixSchedule, sequences: int, sources: list[Source] | None
) -> Served:
    """Serve so many sequences in the loader's order; without `sources` nothing is packed."""
    length = run.batch.sequence_length
    names = schedule.names
    best_fit = any(packs(run.batch.packing, source) == "best_fit" for source in sources or [])
    packed = sources if sources is not None and best_fit else []
    if sequences > SIMULATED:
        return _owed(schedule, sequences * length, _fills(run, packed))
    make_order = partial(run.mix.order, schedule, length, run.seed)
    order: Any
    if not packed:
        order = make_order(None)
        order.take(sequences)
        draws, counts = order.draws, order.tokens
    else:
        order = GlobalOrder(packed, make_order, length, run.batch.packing, run.seed, {})
        for _ in range(sequences):
            order.next()
        draws, counts = ([place[at] for place in order.positions] for at in (0, 1))
    return Served(
        dict(zip(names, counts, strict=True)),
        {name: draws[at] * length - counts[at] for at, name in enumerate(names)},
        exact=True,
    )


def _fills(run: RunSettings, sources: list[Source]) -> dict[str, float]:
    """The part of each source's places that its first sequences fill."""
    length, count = run.batch.sequence_length, max(1, SAMPLED // max(1, len(sources)))
    found = {}
    for source in sources:
        packed = packing(run.batch.packing, source, length, run.seed)
        pieces = (piece for draw in range(count) for piece in packed.pieces(draw))
        found[source.name] = sum(stop - start for start, stop in pieces) / (count * length)
    return found


def _owed(schedule: MixSchedule, places: int, fills: Mapping[str, float]) -> Served:
    """What the mix owes each source once all of them have taken so many places."""

    def taken(position: int) -> float:
        return sum(
            float(schedule.tokens(name, position)) / fills.get(name, 1.0) for name in schedule.names
        )

    low, high = (0, places) if fills else (places, places)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if taken(middle) <= places else (low, middle - 1)
    tokens = {name: round(schedule.tokens(name, low)) for name in schedule.names}
    padding = {name: round(n / fills.get(name, 1.0)) - n for name, n in tokens.items()}
    return Served(tokens, padding, exact=False)
