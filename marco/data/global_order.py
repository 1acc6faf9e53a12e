"""The global order of training sequences: which source, which pieces of its tokens.

It depends on the sources' tokens, the mix, the packing and the seed, and on nothing that differs
between machines, processes or workers; where it stands is a few numbers per source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from marco.data.packing import Packing, PackingName, packing, packs
from marco.data.stores import Source
from marco.data.windows import Piece, count_tokens
from marco.mixing import Order

#: What the position of a source consists of: sequences and tokens served, and its packing's state.
POSITION = ("draws", "tokens", "part", "part_draw")

#: Makes the order of sources from `size(source, draw)`, the tokens of a sequence, or from None
#: where all are of full length.
MakeOrder = Callable[[Callable[[int, int], int] | None], Order]


@dataclass(frozen=True)
class Row:
    """One sequence: the index of its source, how many that served before, and its tokens."""

    source: int
    draw: int
    pieces: list[Piece]

    @property
    def tokens(self) -> int:
        """Tokens served as targets, or as context where a loss mask says so."""
        return count_tokens(self.pieces)


class GlobalOrder:
    """Serves rows one by one.

    Args:
        sources: what is mixed.
        make_order: see `MakeOrder`.
        length: places of a sequence.
        pack: how documents become sequences.
        seed: decides every shuffle.
        positions: by source, `POSITION`; sources that are absent start afresh.
        before: by source, the sequences that a run served which this one branched off; they come
            before its own, and the mix does not count them.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        make_order: MakeOrder,
        length: int,
        pack: PackingName,
        seed: int,
        positions: Mapping[str, Sequence[int]],
        before: Mapping[str, int] | None = None,
    ) -> None:
        places = {source.name: [0] * len(POSITION) for source in sources}
        places.update({name: list(place) for name, place in positions.items()})
        self._before = [(before or {}).get(source.name, 0) for source in sources]
        self._packings: list[Packing] = []
        for source in sources:
            packed = packing(pack, source, length, seed)
            packed.restore(places[source.name][2:])
            self._packings.append(packed)
        self._order = make_order(
            None if all(packs(pack, source) == "concat" for source in sources) else self._size
        )
        self._order.load_state_dict({name: place[:2] for name, place in places.items()})

    def next(self) -> Row:
        """Return the next sequence of the run."""
        draws = self._order.draws
        source = self._order.next()
        draw = self._before[source] + draws[source]
        return Row(source, draw, self._packings[source].pieces(draw))

    @property
    def positions(self) -> list[tuple[int, ...]]:
        """Where every source stands, in their order: `POSITION`."""
        served = zip(self._order.draws, self._order.tokens, self._packings, strict=True)
        return [(draws, tokens, *packed.state) for draws, tokens, packed in served]

    def _size(self, source: int, draw: int) -> int:
        return count_tokens(self._packings[source].pieces(self._before[source] + draw))
