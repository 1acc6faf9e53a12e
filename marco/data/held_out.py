"""Divide documents into training and held-out ones, by a hash of the text alone.

All copies of a text have one hash and so fall on one side: no held-out text is ever trained on, in
any language. The split depends on nothing but the texts: not on the order of files or lines, nor on
the machine. As long as the bounds do not bind, a text that is held out stays so when others come.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left

from marco.data.documents import Corpus, Document
from marco.errors import DataError

_BITS = 128


def split_by_hash(
    documents: dict[str, list[Document]], fraction: float, minimum: int, maximum: int
) -> Corpus:
    """Hold out, per language, the texts whose hash is below ``fraction`` of its range.

    Args:
        documents: language → documents; the split keeps their order.
        fraction: share of the different texts to hold out, about.
        minimum: different texts to hold out at least (those with the lowest hashes).
        maximum: different texts to hold out at most; the others are trained on.

    Returns:
        A corpus whose held-out part has each text once; notes count what was dropped.

    Raises:
        DataError: a language has too few different texts.
    """
    hashes = {code: [_hash(entry.text) for entry in entries] for code, entries in documents.items()}
    chosen: dict[str, set[int]] = {}
    for code, values in hashes.items():
        ordered = sorted(set(values))
        below = bisect_left(ordered, int(fraction * 2**_BITS))
        count = max(minimum, min(below, maximum, len(ordered) - 1))  # one at least to train on
        chosen[code] = set(ordered[:count])
    held_anywhere = set().union(*chosen.values())

    corpus = Corpus({}, {}, [])
    for code, entries in documents.items():
        train: list[Document] = []
        first: dict[int, Document] = {}
        for value, entry in zip(hashes[code], entries, strict=True):
            if value in chosen[code]:
                first.setdefault(value, entry)
            elif value not in held_anywhere:
                train.append(entry)
        if len(first) < minimum or not train:
            raise DataError(
                f"{code} has {len(entries)} documents, {len(set(hashes[code]))} of them different: "
                f"too few to hold out {minimum} (data.min_held_out) and to train on others."
            )
        if dropped := len(entries) - len(train) - len(first):
            corpus.notes.append(f"{code}: {dropped} copies of held-out documents dropped")
        corpus.train[code] = train
        corpus.held_out[code] = list(first.values())
    return corpus


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_BITS // 8).digest(), "big")
