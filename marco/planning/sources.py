"""What the sources of a run hold: their sizes, and what the tokenizer makes of their text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marco.config import RunSettings
from marco.config.run import Batch
from marco.data.documents import Document
from marco.data.packing import PackingName, packs
from marco.data.stores import Source
from marco.data.virtual import VirtualData
from marco.errors import ConfigError
from marco.tokenizers import Tokenizer
from marco.tokenizers.embedded import EmbeddedTokenizer

ENGLISH = "eng"
SAMPLE = 2_000_000  # documents whose lengths are looked at
ROUNDS = 8  # of a source, whose windows begin elsewhere in each


@dataclass(frozen=True)
class SourceFacts:
    """One source of the mix; None is what nobody knows without text.

    Attributes:
        tokens: of one epoch, end-of-text tokens included.
        fertility: tokens for each token that English needs for the same documents (those with
            the same `parallel_id`); None where the text is not parallel to English.
        tokens_per_character, tokens_per_byte: of its text (UTF-8), end-of-text tokens not counted.
        cut: share of its documents that end in another window than they begin in.
        truncated: share of its tokens that are served without their document's beginning.
    """

    name: str
    tokens: int
    documents: int | None = None
    fertility: float | None = None
    tokens_per_character: float | None = None
    tokens_per_byte: float | None = None
    cut: float | None = None
    truncated: float | None = None


@dataclass(frozen=True)
class Sources:
    """All sources, in the order of the mix, and the entries of the tokenizer.

    `opened` is what the loader would read, None for a corpus that is not there.
    """

    facts: tuple[SourceFacts, ...]
    vocabulary: int
    opened: list[Source] | None = None

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
    sources = run.data.open_sources(corpus, tokenizer)
    reference = _by_parallel(corpus.train.get(ENGLISH, ()), tokenizer)
    found = [
        _facts(source, corpus.train.get(source.name, ()), reference, tokenizer, run.batch)
        for source in sources
    ]
    return Sources(tuple(found), len(tokenizer), sources)


def document_lengths(source: Source) -> NDArray[np.int64]:
    """Tokens of every document (of the first `SAMPLE`), each with its end-of-text token."""
    ends = source.store.ends(0, min(source.store.documents, SAMPLE))
    return np.diff(ends, prepend=0)


def cut_share(lengths: NDArray[np.int64], window: int, packing: PackingName) -> float:
    """Share of documents that lie in more than one window, over `ROUNDS`."""
    if packing == "best_fit":
        return float(np.mean(lengths > window))
    return float(np.mean([(lengths > left).mean() for left in _left(lengths, window)]))


def truncated_share(lengths: NDArray[np.int64], window: int, packing: PackingName) -> float:
    """Share of tokens in a later window than their document began in, over `ROUNDS`."""
    if packing == "best_fit":
        return float(np.maximum(lengths - window, 0).sum() / lengths.sum())
    over = [np.maximum(lengths - left, 0).sum() for left in _left(lengths, window)]
    return float(np.mean(over) / lengths.sum())


def _left(lengths: NDArray[np.int64], window: int) -> Iterator[NDArray[np.int64]]:
    """What is left of the window that each document begins in, round by round."""
    starts = np.cumsum(lengths) - lengths
    for number in range(ROUNDS):
        yield window - (starts + number * lengths.sum()) % window


def _facts(
    source: Source,
    documents: Sequence[Document],
    reference: dict[str, int],
    tokenizer: Tokenizer,
    batch: Batch,
) -> SourceFacts:
    lengths = document_lengths(source)
    own = _by_parallel(documents, tokenizer) if reference else {}
    shared = own.keys() & reference.keys()
    english = sum(reference[key] for key in shared)
    text = len(source.store) - (0 if source.whole else source.store.documents)
    characters = sum(len(document.text) for document in documents)
    cut = (lengths, batch.sequence_length, packs(batch.packing, source))
    return SourceFacts(
        name=source.name,
        tokens=len(source.store),
        documents=source.store.documents,
        fertility=sum(own[key] for key in shared) / english if english else None,
        tokens_per_character=text / characters if characters else None,
        tokens_per_byte=text / source.text_bytes if source.text_bytes else None,
        cut=cut_share(*cut),
        truncated=truncated_share(*cut),
    )


def _by_parallel(documents: Sequence[Document], tokenizer: Tokenizer) -> dict[str, int]:
    """Tokens of the documents that have a counterpart in other languages, by `parallel_id`."""
    aligned = {item.parallel_id: item.text for item in documents if item.parallel_id is not None}
    lengths = map(len, tokenizer.encode_batch(list(aligned.values())))
    return dict(zip(aligned, lengths, strict=True))


def _entries(run: RunSettings) -> int:
    entries: int | None = run.tokenizer.least_entries()
    if entries is None or isinstance(run.tokenizer, EmbeddedTokenizer):
        raise ConfigError(
            "A corpus without text needs a tokenizer that exists already: tokenizer=qwen2, or a "
            "folder's (tokenizer=pretrained)."
        )
    return entries
