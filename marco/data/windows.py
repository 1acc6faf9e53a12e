"""One training sequence: ranges of a source's tokens, as inputs, positions and labels.

A *piece* is a range of tokens that are served as targets; its inputs are the same range one token
earlier (before a source's first token comes its last, an end-of-text). Where documents are `whole`
a piece is one of them, served as inputs: what follows its last token is no target. Positions
restart at every piece and after every end-of-text, which is how attention knows that documents are
apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marco.data.ledger import FIELDS
from marco.data.stores import Source

#: A range of a store's tokens, [start, stop).
Piece = tuple[int, int]

IGNORED = -100


def count_tokens(pieces: Sequence[Piece]) -> int:
    """Tokens of a sequence."""
    return sum(stop - start for start, stop in pieces)


@dataclass(frozen=True)
class Window:
    """One training sequence.

    Attributes:
        input_ids, position_ids: [length] int64; padding is end-of-text, a document of its own.
        labels: [length] int64; `IGNORED` in padding and where a loss mask says so.
        counts: [fields] int64, what it adds to the ledger (`marco.data.ledger.FIELDS`).
    """

    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    counts: NDArray[np.int64]


def read_window(
    source: Source,
    pieces: Sequence[Piece],
    length: int,
    token_bytes: NDArray[np.int64],
) -> Window:
    """Read the pieces, at most `length` tokens together, and pad to `length`.

    Args:
        token_bytes: [vocabulary], UTF-8 bytes that each token stands for.

    Raises:
        DataError: the store's files are damaged, or gone.
    """
    store, end = source.store, source.end_of_text
    inputs = np.full(length, end, np.int64)
    labels = np.full(length, IGNORED, np.int64)
    positions = np.empty(length, np.int64)
    at = documents = cut = size = 0
    for start, stop in pieces:
        count = stop - start
        place = slice(at, at + count)
        at += count
        if source.whole:
            inputs[place], labels[place] = _whole(source, start, stop)
            positions[place] = np.arange(count)
            documents += 1
            size += int(token_bytes[inputs[place]].sum())
            continue
        if start:
            tokens = store.read(start - 1, stop)
        else:
            tokens = np.concatenate([store.read(len(store) - 1, len(store)), store.read(0, stop)])
        inputs[place] = tokens[:-1]
        positions[place] = document_positions(inputs[place], end)
        targets = tokens[1:]
        ends = np.flatnonzero(targets == end)
        documents += len(ends)
        if tokens[0] != end:
            cut += int(ends[0]) + 1 if len(ends) else count
        size += int(token_bytes[targets].sum())
        mask = store.mask(start, stop)
        labels[place] = targets if mask is None else np.where(mask, targets, IGNORED)
    positions[at:] = np.arange(length - at)
    counts = {
        "tokens": at,
        "target_tokens": int((labels != IGNORED).sum()),
        "documents": documents,
        "bytes": size,
        "truncated_tokens": cut,
        "padding": length - at,
    }
    return Window(inputs, positions, labels, np.array([counts[field] for field in FIELDS]))


def _whole(source: Source, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """A document that stands alone: its tokens, and after each the next one as its label."""
    tokens = source.store.read(start, stop)
    labels = np.full(stop - start, IGNORED, np.int64)
    mask = source.store.mask(start + 1, stop)
    labels[:-1] = tokens[1:] if mask is None else np.where(mask, tokens[1:], IGNORED)
    return tokens, labels


def document_positions(input_ids: NDArray[np.int64], end_of_text: int) -> NDArray[np.int64]:
    """Positions that restart at 0 at every `end_of_text`; shape [length]."""
    places = np.arange(len(input_ids))
    starts = np.where(input_ids == end_of_text, places, 0)
    return places - np.maximum.accumulate(starts)
