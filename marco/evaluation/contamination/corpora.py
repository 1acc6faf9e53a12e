"""The text that a run with some data config trains on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from marco.data.settings import Data
from marco.data.stores import Source

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer

_DOCUMENTS = 256  # read from a store at once


def training_texts(data: Data, tokenizer: Tokenizer | None) -> Iterator[str]:
    """Yield every document that a run with this data trains on, source after source.

    Args:
        data: checked settings.
        tokenizer: of sources that are tokens; None where there are none (`needs_tokenizer`).
    """
    corpus = data.load()
    for documents in corpus.train.values():
        for document in documents:
            yield document.text
    if tokenizer is not None:
        for source in data.open_sources(corpus, tokenizer):
            if source.name not in corpus.train:
                yield from _decoded(source, tokenizer)


def needs_tokenizer(data: Data) -> bool:
    """Whether some sources of the data are not among the documents it loads."""
    return not data.gives_text() or set(data.source_names()) != set(data.language_codes())


def _decoded(source: Source, tokenizer: Tokenizer) -> Iterator[str]:
    store = source.store
    start = 0
    for first in range(0, store.documents, _DOCUMENTS):
        ends = store.ends(first, min(first + _DOCUMENTS, store.documents))
        tokens = store.read(start, int(ends[-1]))
        begin = 0
        for end in (ends - start).tolist():
            yield tokenizer.decode(tokens[begin : end - 1].tolist())  # without its end-of-text
            begin = end
        start = int(ends[-1])
