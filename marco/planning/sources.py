"""What the sources of a run hold: their sizes, and what the tokenizer makes of their text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marco.config import RunSettings
from marco.data.documents import Document
from marco.data.streams import TokenStream, tokenise_corpus
from marco.data.virtual import VirtualData
from marco.errors import ConfigError
from marco.tokenizers.embedded import EmbeddedTokenizer

ENGLISH = "eng"


@dataclass(frozen=True)
class SourceFacts:
    """One source of the mix; None is what nobody knows without text.

    Attributes:
        tokens: of one epoch, end-of-text tokens included.
        fertility: tokens for each token that English needs for the same documents (those with
            the same `parallel_id`); None where the text is not parallel to English.
        tokens_per_character, tokens_per_byte: of its text (UTF-8), end-of-text tokens not counted.
        cut: share of its documents that end in another window than they begin in.
    """

    name: str
    tokens: int
    documents: int | None = None
    fertility: float | None = None
    tokens_per_character: float | None = None
    tokens_per_byte: float | None = None
    cut: float | None = None


@dataclass(frozen=True)
class Sources:
    """All sources, in the order of the mix, and the entries of the tokenizer."""

    facts: tuple[SourceFacts, ...]
    vocabulary: int

    @property
    def sizes(self) -> dict[str, int]:
        """Tokens by name: what a mixing rule takes."""
        return {fact.name: fact.tokens for fact in self.facts}


def read_sources(run: RunSettings) -> Sources:
    """Read and tokenise the text, or take the sizes of a corpus that is not there.

    Raises:
        DataError: text that cannot be used. ConfigError: a tokenizer that needs text to be made.
    """
    if isinstance(run.data, VirtualData):
        sizes = run.data.source_sizes()
        facts = tuple(SourceFacts(name, size) for name, size in sizes.items())
        return Sources(facts, _entries(run))
    corpus = run.data.load()
    tokenizer = run.tokenizer.load(corpus)
    streams = tokenise_corpus(corpus, tokenizer)
    english = next((stream for stream in streams if stream.language == ENGLISH), None)
    reference = _by_parallel(english, corpus.train[ENGLISH]) if english is not None else {}
    found = [
        _facts(stream, corpus.train[stream.language], reference, run.batch.sequence_length)
        for stream in streams
    ]
    return Sources(tuple(found), len(tokenizer))


def document_lengths(stream: TokenStream) -> NDArray[np.int64]:
    """Tokens of every document, [documents], each with its one end-of-text token."""
    starts = np.flatnonzero(stream.tokens == stream.end_of_text)
    return np.diff(np.append(starts, len(stream)))


def cut_share(lengths: NDArray[np.int64], window: int) -> float:
    """Share of documents that lie in more than one window of the first epoch."""
    ends = np.cumsum(lengths)
    return float(np.mean((ends - lengths) // window != (ends - 1) // window))


def _facts(
    stream: TokenStream, documents: Sequence[Document], reference: dict[str, int], window: int
) -> SourceFacts:
    lengths = document_lengths(stream)
    own = _by_parallel(stream, documents)
    shared = own.keys() & reference.keys()
    english = sum(reference[key] for key in shared)
    text = int(lengths.sum()) - len(lengths)
    return SourceFacts(
        name=stream.language,
        tokens=len(stream),
        documents=stream.documents,
        fertility=sum(own[key] for key in shared) / english if english else None,
        tokens_per_character=text / sum(len(document.text) for document in documents),
        tokens_per_byte=text / stream.text_bytes,
        cut=cut_share(lengths, window),
    )


def _by_parallel(stream: TokenStream, documents: Sequence[Document]) -> dict[str, int]:
    """Tokens of the documents that have a counterpart in other languages, by `parallel_id`."""
    pairs = zip(documents, document_lengths(stream).tolist(), strict=True)
    return {item.parallel_id: length - 1 for item, length in pairs if item.parallel_id is not None}


def _entries(run: RunSettings) -> int:
    entries: int | None = run.tokenizer.least_entries()
    if entries is None or isinstance(run.tokenizer, EmbeddedTokenizer):
        raise ConfigError(
            "A corpus without text needs a tokenizer that exists already: tokenizer=qwen2, or a "
            "folder's (tokenizer=pretrained)."
        )
    return entries
