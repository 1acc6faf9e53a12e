"""From documents in memory to a source in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from marco.data.stores import MemoryStore, Source
from marco.errors import DataError

if TYPE_CHECKING:
    from marco.data.documents import Corpus, Document
    from marco.tokenizers import Tokenizer

_BATCH = 1024  # documents tokenised at a time


def tokenise(
    name: str, language: str, documents: Sequence[Document], tokenizer: Tokenizer
) -> Source:
    """Tokenise documents, an end-of-text after each.

    Raises:
        DataError: there is none.
    """
    if not documents:
        raise DataError(f"'{name}' has no training documents.")
    pieces: list[list[int]] = []
    for start in range(0, len(documents), _BATCH):
        texts = [document.text for document in documents[start : start + _BATCH]]
        pieces.extend([*ids, tokenizer.end_of_text] for ids in tokenizer.encode_batch(texts))
    ends = np.cumsum([len(piece) for piece in pieces])
    tokens = np.fromiter((token for piece in pieces for token in piece), np.int32, int(ends[-1]))
    return Source(
        name,
        language,
        MemoryStore(tokens, ends),
        tokenizer.end_of_text,
        text_bytes=sum(len(document.text.encode()) for document in documents),
    )


def tokenise_corpus(corpus: Corpus, tokenizer: Tokenizer) -> list[Source]:
    """Tokenise the training split, languages in the corpus' order."""
    return [tokenise(code, code, found, tokenizer) for code, found in corpus.train.items()]
