"""How documents become sequences of a fixed length: `batch.packing`.

- `concat`: documents follow each other on an endless circle, from which windows are cut. Nothing
  is padded, every token is served equally often; documents are cut at the window's edge.
- `best_fit`: documents stay whole where they fit ("Fewer Truncations Improve Language Modeling",
  2404.10830); what is left of a window is padding, and counted. Longer documents are cut into
  whole windows and a rest, which is packed like a document: nothing is ever dropped.

Documents that are `whole` (conversations) are packed by `best_fit` whatever is chosen.

Which pieces the k-th draw of a source is, depends on source, length and seed alone.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np

from marco.data.permutation import Permutation
from marco.data.stores import Source
from marco.data.windows import Piece
from marco.errors import ConfigError

PackingName = Literal["concat", "best_fit"]

# Tokens, and documents, that are shuffled among themselves before the next are begun: neighbours
# on the disk (or in a shard far away) are read within a short time of each other. The parts
# themselves follow each other in a shuffled order.
PART_TOKENS = 1 << 26
PART_DOCUMENTS = 1 << 10


class Packing(Protocol):
    """The draws of one source, in order."""

    def pieces(self, draw: int) -> list[Piece]:
        """The pieces of the `draw`-th sequence; draws are asked for in rising order, or again."""

    @property
    def state(self) -> list[int]:
        """What a resumed run needs besides the number of draws: two whole numbers."""

    def restore(self, state: list[int]) -> None:
        """Go on from a `state`."""


def packing(name: PackingName, source: Source, length: int, seed: int) -> Packing:
    """Build the packing of a source.

    Raises:
        ConfigError: a document that must not be cut is longer than `length`.
    """
    if source.whole:
        longest = int(np.diff(source.store.ends(0, source.store.documents), prepend=0).max())
        if longest > length:
            raise ConfigError(
                f"{source.name} has a conversation of {longest} tokens, more than "
                f"batch.sequence_length={length}: lower max_tokens of its data to that."
            )
    return (Concat if packs(name, source) == "concat" else BestFit)(source, length, seed)


def packs(name: PackingName, source: Source) -> PackingName:
    """Return how a source is packed where the config says `name`."""
    return "best_fit" if source.whole else name


class Concat:
    """Windows of an endless circle of tokens, every epoch's in another order.

    An epoch is as many windows as cover the tokens once; its last one runs on into the next round.
    """

    def __init__(self, source: Source, length: int, seed: int) -> None:
        self.length = length
        self.size = len(source.store)
        self.windows = -(-self.size // length)
        self._key = f"{seed}/{source.name}"
        self._part = max(1, PART_TOKENS // length)
        self._shuffled: dict[str, Permutation] = {}

    def window_index(self, draw: int) -> int:
        """Index of a window on the endlessly repeated tokens."""
        epoch, place = divmod(draw, self.windows)
        part, inside = divmod(place, self._part)
        whole_parts = self.windows // self._part
        if part < whole_parts:  # the rest, which is shorter, comes last
            part = self._permutation("parts", f"{epoch}", whole_parts)[part]
        size = min(self._part, self.windows - part * self._part)
        inside = self._permutation("windows", f"{epoch}/{part}", size)[inside]
        return epoch * self.windows + part * self._part + inside

    def pieces(self, draw: int) -> list[Piece]:
        """See `Packing`; several pieces where the window goes over the end of the circle."""
        start = self.window_index(draw) * self.length % self.size
        left = self.length
        found = []
        while left:
            stop = min(start + left, self.size)
            found.append((start, stop))
            left -= stop - start
            start = 0
        return found

    @property
    def state(self) -> list[int]:
        """Nothing is needed: a draw's number says which window it is."""
        return [0, 0]

    def restore(self, state: list[int]) -> None:
        """See `Packing`."""

    def _permutation(self, kind: str, which: str, size: int) -> Permutation:
        key = f"{self._key}/{kind}/{which}"
        found = self._shuffled.get(kind)
        if found is None or found.key != key:
            found = self._shuffled[kind] = Permutation(size, key)
        return found


class BestFit:
    """Whole documents, packed within parts of `PART_DOCUMENTS` neighbours.

    How many windows a part gives is known when it is packed, so the state holds the part under way
    and the draw that began it: a resumed run packs one part (3 ms) and goes on.
    """

    def __init__(self, source: Source, length: int, seed: int) -> None:
        self.length = length
        self.source = source
        self.parts = -(-source.store.documents // PART_DOCUMENTS)
        self._key = f"{seed}/{source.name}"
        self._part = 0
        self._first = 0
        self._packed: list[list[Piece]] | None = None
        self._before: tuple[int, list[list[Piece]]] = (0, [])

    def pieces(self, draw: int) -> list[Piece]:
        """See `Packing`; a draw that is asked for again may be one part back."""
        first, packed = self._before
        if first <= draw < first + len(packed):
            return packed[draw - first]
        if self._packed is None:
            self._packed = self._pack(self._part)
        while draw >= self._first + len(self._packed):
            self._before = (self._first, self._packed)
            self._first += len(self._packed)
            self._part += 1
            self._packed = self._pack(self._part)
        return self._packed[draw - self._first]

    @property
    def state(self) -> list[int]:
        """The part under way, counted over all epochs, and the draw that began it."""
        return [self._part, self._first]

    def restore(self, state: list[int]) -> None:
        """See `Packing`."""
        self._part, self._first = state
        self._packed, self._before = None, (0, [])

    def _pack(self, number: int) -> list[list[Piece]]:
        epoch, place = divmod(number, self.parts)
        part = Permutation(self.parts, f"{self._key}/parts/{epoch}")[place]
        first = part * PART_DOCUMENTS
        last = min(first + PART_DOCUMENTS, self.source.store.documents)
        before = int(self.source.store.ends(first - 1, first)[0]) if first else 0
        ends = [before, *self.source.store.ends(first, last).tolist()]
        packed = best_fit(list(pairwise(ends)), self.length)
        order = Permutation(len(packed), f"{self._key}/windows/{epoch}/{part}")
        return [packed[order[index]] for index in range(len(packed))]


def best_fit(documents: list[Piece], length: int) -> list[list[Piece]]:
    """Pack ranges into windows of `length`: longest first, each into the fullest that has room.

    A range longer than `length` is cut into whole windows and a rest.
    """
    windows: list[list[Piece]] = []
    rests: list[Piece] = []
    for start, stop in documents:
        for cut in range(start, stop, length):
            piece = (cut, min(cut + length, stop))
            if piece[1] - piece[0] == length:
                windows.append([piece])
            else:
                rests.append(piece)
    room: list[tuple[int, int]] = []  # (-what is left, window), fullest last
    rests.sort(key=lambda piece: (piece[0] - piece[1], piece[0]))
    for piece in rests:
        size = piece[1] - piece[0]
        at = bisect_right(room, (-size, len(windows))) - 1
        if at >= 0:
            left, window = room.pop(at)
            windows[window].append(piece)
        else:
            left, window = -length, len(windows)
            windows.append([piece])
        if -left > size:
            insort(room, (left + size, window))
    return windows
