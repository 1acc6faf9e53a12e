"""What the loader reads: a source's tokens in order, and where its documents end.

The layout is datatrove's: every document's tokens, then one end-of-text token. A training window
serves a range of these tokens as *targets*; its inputs are the same range one token earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SEVERAL = "mul"
"""ISO 639-2's code for text in several languages."""


class TokenStore(Protocol):
    """Random access to the tokens of one source.

    A loader's workers are spawned, so a store must be cheap to pickle: files are opened when they
    are first read, and open ones stay behind.
    """

    @property
    def documents(self) -> int:
        """How many documents it holds."""

    def __len__(self) -> int:
        """Tokens, the end-of-text tokens included."""

    def read(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return tokens `start` to `stop` (exclusive), [stop - start]; 0 <= start <= stop <= len.

        Raises:
            DataError: the file behind it is damaged, or gone.
        """

    def ends(self, first: int, last: int) -> NDArray[np.int64]:
        """For documents `first` to `last` (exclusive): the offsets after their end-of-text."""

    def mask(self, start: int, stop: int) -> NDArray[np.bool_] | None:
        """Which tokens of the range are targets of the loss, [stop - start]; None: all are."""


@dataclass(frozen=True)
class Source:
    """What a mix draws from.

    Attributes:
        name: its name in the mix: a language's code, or such as "parallel" or "eng_books".
        language: canonical code, or "mul" for text in several languages.
        store: its tokens.
        end_of_text: the id that ends a document.
        text_bytes: UTF-8 bytes of all its text; None where nobody counted.
        content: differs where its text does, as far as can be told without reading it again: a
            hash of the text, or of the shards' names and sizes.
        whole: its documents are never cut or joined, as conversations must not be: each is served
            alone, its first token first, and none ends with an end-of-text. Whatever
            `batch.packing` says, they are packed by best fit.
        lost: what the ledger says of documents that were cut or dropped before they came here.
    """

    name: str
    language: str
    store: TokenStore
    end_of_text: int
    text_bytes: int | None = None
    content: str = ""
    whole: bool = False
    lost: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MemoryStore:
    """Tokens that fit into memory.

    Attributes:
        tokens: [n] int32, every document followed by its end-of-text token.
        document_ends: [documents] int64, rising; the last is n.
        targets: [n] bool, or None where every token is a target.
    """

    tokens: NDArray[np.int32]
    document_ends: NDArray[np.int64]
    targets: NDArray[np.bool_] | None = None

    @property
    def documents(self) -> int:
        """How many documents it holds."""
        return len(self.document_ends)

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, start: int, stop: int) -> NDArray[np.int32]:
        """See `TokenStore`."""
        return self.tokens[start:stop]

    def ends(self, first: int, last: int) -> NDArray[np.int64]:
        """See `TokenStore`."""
        return self.document_ends[first:last]

    def mask(self, start: int, stop: int) -> NDArray[np.bool_] | None:
        """See `TokenStore`."""
        return None if self.targets is None else self.targets[start:stop]
