"""Sources whose tokens say where they stand: token 1000 · source + place, 0 ends a document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marco.data.stores import MemoryStore, Source

END = 0


def counted(
    name: str, lengths: Sequence[int], first: int = 1, masked: Sequence[int] = ()
) -> Source:
    """A source of documents of these lengths, their end-of-text included.

    Its tokens count up from `first`; every document's last is `END`. Tokens in `masked` are no
    targets.
    """
    size = sum(lengths)
    tokens = np.arange(first, first + size, dtype=np.int32)
    ends = np.cumsum(lengths)
    targets = ~np.isin(tokens, list(masked)) if masked else None
    tokens[ends - 1] = END
    return Source(name, name, MemoryStore(tokens, ends.astype(np.int64), targets), END, size)
