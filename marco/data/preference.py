"""Pairs of answers to one prompt, of which one is preferred: what preference objectives train on.

A source's *document* is a pair: prompt and chosen answer, an end-of-text, the prompt again and the
rejected answer, an end-of-text. Packed by `best_fit`, which cuts no document that fits, the two
sides lie in one sequence, so no micro-batch can part them; positions restart after the end-of-text
between them, so they do not see each other. The mix counts their tokens as it does any others.
"""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from marco.data.documents import Corpus
from marco.data.preference_rows import Pair, Sides, tokenise
from marco.data.settings import Data
from marco.data.stores import MemoryStore, Source
from marco.errors import ConfigError, DataError

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer

log = logging.getLogger(__name__)

# Reasons a pair is dropped, as they stand in the log.
SAME = "pairs whose two answers are the same"
EMPTY = "pairs with an empty answer"
TOO_LONG = "pairs of more than max_tokens"

_BATCH = 1000  # pairs tokenised at a time


@dataclass(frozen=True, kw_only=True)
class PreferenceData(Data):
    """What every kind of preference data shares: a source for each language.

    Attributes:
        max_tokens: pairs of more tokens (both sides, each with the prompt and an end-of-text) are
            dropped, and counted; at most `batch.sequence_length`, since a pair is never divided.
    """

    max_tokens: int

    @abstractmethod
    def pairs(self, code: str, corpus: Corpus) -> Iterator[Pair]:
        """Yield the pairs of a language; `corpus` is what `load` returned.

        Raises:
            DataError: a row that is no pair, with its file and line.
        """

    def check(self) -> None:
        """See `Data`."""
        if self.max_tokens < 4:
            raise ConfigError(f"data.max_tokens={self.max_tokens}: at least 4.")

    def gives_pairs(self) -> bool:
        """See `Data`: always."""
        return True

    def open_sources(self, corpus: Corpus, tokenizer: Tokenizer) -> list[Source]:
        """See `Data`; what was dropped is logged."""
        return [
            paired(code, self.pairs(code, corpus), tokenizer, self.max_tokens)
            for code in self.source_names()
        ]


def paired(code: str, pairs: Iterable[Pair], tokenizer: Tokenizer, max_tokens: int) -> Source:
    """Return a source of tokenised pairs.

    Raises:
        DataError: none is left.
    """
    dropped: Counter[str] = Counter()
    tokens, targets, ends = [np.empty(0, np.int32)], [np.empty(0, np.bool_)], []
    size = text_bytes = 0
    digest = hashlib.sha256(f"{max_tokens}".encode())
    made = iter(pairs)
    while batch := list(islice(made, _BATCH)):
        for pair, sides in zip(batch, tokenise(batch, tokenizer), strict=True):
            if (reason := _unusable(pair, sides, max_tokens)) is not None:
                dropped[reason] += 1
                continue
            text = repr(pair).encode()
            digest.update(f"{len(text)}:".encode() + text)
            for answer in (sides.chosen, sides.rejected):
                prompt = len(sides.prompt)
                tokens.append(np.array([*sides.prompt, *answer, tokenizer.end_of_text], np.int32))
                mask = np.arange(len(tokens[-1])) >= prompt
                mask[-1] = sides.ends
                targets.append(mask)
            size += sides.tokens
            ends.append(size)
            text_bytes += pair.text_bytes()
    for reason, count in dropped.items():
        log.info("Data: %s: dropped %d %s", code, count, reason)
    if not ends:
        what = "; ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise DataError(f"{code}: no pairs of answers to train on (dropped: {what or 'none'}).")
    store = MemoryStore(np.concatenate(tokens), np.array(ends), np.concatenate(targets))
    return Source(code, code, store, tokenizer.end_of_text, text_bytes, digest.hexdigest())


def _unusable(pair: Pair, sides: Sides, max_tokens: int) -> str | None:
    if not (sides.chosen and sides.rejected):
        return EMPTY
    if pair.chosen == pair.rejected:
        return SAME
    return TOO_LONG if sides.tokens > max_tokens else None
