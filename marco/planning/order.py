"""How many tokens a run will serve of each source: the loader's own order, run without text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from marco.mixing import QuotaOrder

#: Beyond so many sequences (about two seconds) shares are multiplied out instead.
SIMULATED = 1_000_000


@dataclass(frozen=True)
class Served:
    """Tokens by source; `exact` unless they may be off by less than a sequence each."""

    tokens: dict[str, int]
    exact: bool


def served(shares: Mapping[str, float], length: int, sequences: int) -> Served:
    """Serve so many sequences of `length` tokens in the loader's order."""
    if sequences > SIMULATED:  # the order never strays by a whole sequence
        tokens = {name: round(share * sequences * length) for name, share in shares.items()}
        return Served(tokens, exact=False)
    order = QuotaOrder(shares)
    order.take(sequences)
    counted = zip(order.names, order.counters, strict=True)
    return Served({name: count * length for name, count in counted}, exact=True)
