"""How many tokens a run will serve of each source: the loader's own order, run without text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from marco.config import RunSettings
from marco.data.global_order import GlobalOrder
from marco.data.stores import Source
from marco.mixing import MixSchedule

#: Beyond so many sequences (a few seconds) what the mix owes each source is taken instead.
SIMULATED = 300_000


@dataclass(frozen=True)
class Served:
    """What is served of each source.

    Attributes:
        tokens: by source.
        padding: places of its sequences that hold nothing, by source.
        exact: whether the order was run; else the tokens may be off by less than a sequence, and
            `padding` is left out.
    """

    tokens: dict[str, int]
    padding: dict[str, int]
    exact: bool


def served(
    run: RunSettings, schedule: MixSchedule, sequences: int, sources: list[Source] | None
) -> Served:
    """Serve so many sequences in the loader's order; without `sources` nothing is packed."""
    length = run.batch.sequence_length
    names = schedule.names
    if sequences > SIMULATED:
        position = sequences * length
        tokens = {name: round(schedule.tokens(name, position)) for name in names}
        return Served(tokens, dict.fromkeys(names, 0), exact=False)
    make_order = partial(run.mix.order, schedule, length, run.seed)
    order: Any
    if sources is None or run.batch.packing == "concat":
        order = make_order(None)
        order.take(sequences)
        draws, counts = order.draws, order.tokens
    else:
        order = GlobalOrder(sources, make_order, length, run.batch.packing, run.seed, {})
        for _ in range(sequences):
            order.next()
        draws, counts = ([place[at] for place in order.positions] for at in (0, 1))
    return Served(
        dict(zip(names, counts, strict=True)),
        {name: draws[at] * length - counts[at] for at, name in enumerate(names)},
        exact=True,
    )
