"""Documents to tokens in batches, on several threads, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from marco.data.documents import Document
    from marco.tokenizers import Tokenizer

# Characters of a batch: enough to make threads worth while, and little beside the process.
_BATCH = 500_000


@dataclass(frozen=True)
class Batch:
    """Tokenised documents.

    Attributes:
        tokens: [n] int32, every document followed by its end-of-text token.
        ends: [documents] int64, the offsets behind them.
        text_bytes: their size in UTF-8.
    """

    tokens: NDArray[np.int32]
    ends: NDArray[np.int64]
    text_bytes: int


def batches(documents: Iterable[Document]) -> Iterator[list[str]]:
    """Cut the texts of documents into batches of about half a million characters."""
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document.text)
        size += len(document.text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def encode_small(texts: list[str], tokenizer: Tokenizer) -> Batch:
    """Tokenise texts without the second it takes to prepare the fast engine."""
    return _join(
        [np.array(ids, np.int32) for ids in tokenizer.encode_batch(texts)], texts, tokenizer
    )


def encode_all(
    texts: Iterable[list[str]], tokenizer: Tokenizer, threads: int
) -> Generator[Batch, None, None]:
    """Tokenise batches on `threads` threads, and yield them in order.

    At most two batches a thread are held.
    """
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(threads, "tokenise") as pool:
        try:
            for batch in texts:
                waiting.append(pool.submit(_encode, batch, tokenizer))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _encode(texts: list[str], tokenizer: Tokenizer) -> Batch:
    return _join(tokenizer.encode_documents(texts), texts, tokenizer)


def _join(pieces: list[NDArray[np.int32]], texts: list[str], tokenizer: Tokenizer) -> Batch:
    ends = np.cumsum([len(piece) + 1 for piece in pieces], dtype=np.int64)
    end_of_text = np.array([tokenizer.end_of_text], np.int32)
    parts = [part for piece in pieces for part in (piece, end_of_text)]
    text_bytes = sum(len(text.encode()) for text in texts)
    return Batch(np.concatenate(parts) if parts else end_of_text[:0], ends, text_bytes)
