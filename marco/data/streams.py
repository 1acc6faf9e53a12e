"""Token streams: one language's training documents as one circular sequence of tokens.

A document is `[end_of_text] + tokens`; documents follow each other in corpus order, and after the
last comes the first again. Windows of a fixed length are cut from that circle, so nothing is
padded, nothing is dropped, and in the long run every token is served equally often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from marco.errors import DataError

if TYPE_CHECKING:
    from marco.data.documents import Corpus, Document
    from marco.tokenizers import Tokenizer

_BATCH = 1024  # documents tokenised at a time


@dataclass(frozen=True)
class TokenStream:
    """The training tokens of one language.

    Attributes:
        language: canonical code.
        tokens: [n] int32, every document preceded by `end_of_text`.
        end_of_text: the id that opens a document.
        documents: how many documents the stream holds.
        text_bytes: their size in UTF-8 bytes.
    """

    language: str
    tokens: NDArray[np.int32]
    end_of_text: int
    documents: int
    text_bytes: int

    def __post_init__(self) -> None:
        if len(self.tokens) == 0:
            raise DataError(f"Language '{self.language}' has no training tokens.")

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Window:
    """One training sequence; every array is [length] int64."""

    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    labels: NDArray[np.int64]


def tokenise(language: str, documents: Sequence[Document], tokenizer: Tokenizer) -> TokenStream:
    """Tokenise one language's documents into a stream."""
    pieces: list[list[int]] = []
    for start in range(0, len(documents), _BATCH):
        texts = [document.text for document in documents[start : start + _BATCH]]
        pieces.extend([tokenizer.end_of_text, *ids] for ids in tokenizer.encode_batch(texts))
    tokens = np.fromiter((token for piece in pieces for token in piece), dtype=np.int32)
    return TokenStream(
        language=language,
        tokens=tokens,
        end_of_text=tokenizer.end_of_text,
        documents=len(documents),
        text_bytes=sum(len(document.text.encode()) for document in documents),
    )


def tokenise_corpus(corpus: Corpus, tokenizer: Tokenizer) -> list[TokenStream]:
    """Tokenise the training split, languages in the corpus' order."""
    return [tokenise(code, documents, tokenizer) for code, documents in corpus.train.items()]


def windows_per_epoch(stream: TokenStream, length: int) -> int:
    """Windows that cover the stream once; the last one runs on into the next round."""
    return -(-len(stream) // length)


class WindowOrder:
    """Which window the k-th draw from a stream is: a seeded permutation of every epoch's windows.

    Args:
        stream: the source.
        length: tokens per window.
        seed: the run's seed; the permutation also depends on the language and the epoch.
    """

    def __init__(self, stream: TokenStream, length: int, seed: int) -> None:
        self.stream = stream
        self.length = length
        self.windows = windows_per_epoch(stream, length)
        self._key = [seed, *stream.language.encode()]
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.empty(0, np.int64)

    def window_index(self, draw: int) -> int:
        """Index of a window on the endlessly repeated stream."""
        epoch, place = divmod(draw, self.windows)
        if epoch != self._epoch:
            generator = np.random.default_rng([*self._key, epoch])
            self._permutation = generator.permutation(self.windows)
            self._epoch = epoch
        return epoch * self.windows + int(self._permutation[place])

    def window(self, draw: int) -> Window:
        """Return the `draw`-th window, with the token after each one as its label."""
        n = len(self.stream)
        start = self.window_index(draw) * self.length % n
        places = np.arange(start, start + self.length + 1) % n
        tokens = self.stream.tokens[places].astype(np.int64)
        inputs = tokens[:-1]
        return Window(
            input_ids=inputs,
            position_ids=document_positions(inputs, self.stream.end_of_text),
            labels=tokens[1:],
        )


def document_positions(input_ids: NDArray[np.int64], end_of_text: int) -> NDArray[np.int64]:
    """Positions that restart at 0 at every `end_of_text`; shape [length]."""
    places = np.arange(len(input_ids))
    starts = np.where(input_ids == end_of_text, places, 0)
    return places - np.maximum.accumulate(starts)
