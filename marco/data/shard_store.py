"""A source's tokens in datatrove's shards: opened when they are read, checked when they are opened.

A shard is a `.ds` file (tokens of 2 or 4 bytes, little-endian), a `.ds.index` (the documents' ends
in tokens, 8 bytes each) and maybe a `.ds.loss` (a byte a token, 0 where it is no target).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marco.data.mapped import MAPS, MappedFile
from marco.data.shard_cache import ShardCache
from marco.data.shard_listing import ShardListing
from marco.data.shard_sizes import ENTRY_BYTES
from marco.errors import DataError

_ENTRY = np.dtype("<u8")
# Documents whose end is looked at when a shard is opened; every one is a page of the disk.
_LOOKED_AT = 4


class ShardStore:
    """Random access to the tokens of shards, one after the other; see `TokenStore`.

    Only sizes are kept, 16 bytes a shard, and the paths. What can be damaged is checked when a
    process first opens a shard; `check` opens all of them.

    Args:
        listing: the shards.
        end_of_text: the id that ends every document.
        vocabulary: ids are below it.
        cache: where remote shards are kept.
    """

    def __init__(
        self,
        listing: ShardListing,
        end_of_text: int,
        vocabulary: int,
        cache: ShardCache | None = None,
    ) -> None:
        self._listing = listing
        self._end_of_text = end_of_text
        self._vocabulary = vocabulary
        self._cache = cache
        self._tokens = np.concatenate([[0], np.cumsum(listing.tokens)])
        self._documents = np.concatenate([[0], np.cumsum(listing.documents)])
        self._dtype = np.dtype(f"<u{listing.token_bytes}")
        self._checked: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_checked": set()}

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return int(self._documents[-1])

    def __len__(self) -> int:
        return int(self._tokens[-1])

    def read(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return tokens `start` to `stop` (exclusive), [stop - start].

        Raises:
            DataError: a shard is damaged, gone, or of another tokenizer; its path, and the place.
        """
        pieces = [np.empty(0, np.int32)]
        for shard, first, last in _parts(self._tokens, start, stop):
            tokens = self._open(shard).copy(self._dtype, first, last)
            if tokens.max() >= self._vocabulary:
                place = int(np.argmax(tokens >= self._vocabulary))
                raise DataError(
                    f"{self._listing.paths[shard]}, token {first + place}: the id {tokens[place]} "
                    f"is not below {self._vocabulary}, the length of the tokenizer: the shard was "
                    "written with another one, or is damaged."
                )
            pieces.append(tokens.astype(np.int32))
        return pieces[1] if len(pieces) == 2 else np.concatenate(pieces)

    def ends(self, first: int, last: int) -> NDArray[np.int64]:
        """For documents `first` to `last` (exclusive): the offsets after their end-of-text.

        Raises:
            DataError: an index is damaged or gone.
        """
        pieces = [np.empty(0, np.int64)]
        for shard, begin, stop in _parts(self._documents, first, last):
            before = max(begin - 1, 0)
            found = self._index(shard).copy(_ENTRY, before, stop).view(np.int64)
            tokens = self._listing.tokens[shard]
            if not (found[0] > 0 and (np.diff(found) > 0).all() and found[-1] <= tokens):
                raise DataError(
                    f"{self._listing.paths[shard]}.index: the ends of documents {before} to "
                    f"{stop - 1} do not rise, or not within the shard's {tokens} tokens: it is "
                    "damaged. Write or copy the shard again."
                )
            pieces.append(found[begin - before :] + self._tokens[shard])
        return np.concatenate(pieces)

    def mask(self, start: int, stop: int) -> NDArray[np.bool_] | None:
        """Which tokens of the range are targets of the loss, [stop - start]; None: all are."""
        if not self._listing.loss:
            return None
        pieces = [np.empty(0, np.bool_)]
        for shard, first, last in _parts(self._tokens, start, stop):
            size = int(self._listing.tokens[shard])
            pieces.append(self._map(shard, ".loss", size).copy(np.uint8, first, last) != 0)
        return np.concatenate(pieces)

    def check(self) -> None:
        """Open every shard once (0.1 ms each). Raises DataError for one that is damaged."""
        for shard in range(len(self._listing.paths)):
            self._open(shard)

    def _map(self, shard: int, suffix: str, size: int) -> MappedFile:
        path, version = self._listing.paths[shard], self._listing.versions[shard]
        return MAPS.get(path + suffix, version, size, self._cache)

    def _index(self, shard: int) -> MappedFile:
        path, tokens = self._listing.paths[shard], int(self._listing.tokens[shard])
        documents = int(self._listing.documents[shard])
        index = self._map(shard, ".index", documents * ENTRY_BYTES)
        if f"{path}.index" not in self._checked:
            end = int(index.copy(_ENTRY, documents - 1, documents)[0])
            if end != tokens:
                damage = (
                    "the shard is truncated" if end > tokens else "the index is of another shard"
                )
                raise DataError(
                    f"{path} holds {tokens} tokens of {self._listing.token_bytes} bytes, and its "
                    f"index ends at token {end}: {damage}, or tokens have another size here than "
                    "in the first shard. Write or copy it again."
                )
            self._checked.add(f"{path}.index")
        return index

    def _open(self, shard: int) -> MappedFile:
        path = self._listing.paths[shard]
        size = int(self._listing.tokens[shard]) * self._listing.token_bytes
        if path in self._checked:
            return self._map(shard, "", size)
        index, tokens = self._index(shard), self._map(shard, "", size)
        self._check_ends(shard, index, tokens)
        self._checked.add(path)
        return tokens

    def _check_ends(self, shard: int, index: MappedFile, tokens: MappedFile) -> None:
        """Look at the ends of a few documents, the last one among them."""
        path, documents = self._listing.paths[shard], int(self._listing.documents[shard])
        chosen = {documents * n // _LOOKED_AT for n in range(1, _LOOKED_AT + 1)} - {0}
        twice = 0
        for number in sorted(chosen):
            entries = index.copy(_ENTRY, max(number - 2, 0), number)
            begin, end = (0, *entries.tolist())[-2:]
            if not 0 <= begin < end <= self._listing.tokens[shard]:
                raise DataError(
                    f"{path}.index: document {number - 1} goes from token {begin} to {end}: it is "
                    "damaged. Write or copy the shard again."
                )
            last = tokens.copy(self._dtype, max(begin, end - 2), end).tolist()
            if last[-1] != self._end_of_text:
                raise DataError(
                    f"{path}: document {number - 1} ends with token {last[-1]}, not with the "
                    f"tokenizer's end-of-text, {self._end_of_text}. Write the shard with "
                    "eos_token=… in datatrove's DocumentTokenizer, and without shuffle_chunk_size, "
                    "which cuts documents."
                )
            twice += last == [self._end_of_text] * 2
        if twice == len(chosen):
            raise DataError(
                f"{path}: documents end with two end-of-text tokens ({self._end_of_text}): the "
                "text had one already when datatrove added its eos_token. Write it with one."
            )


def _parts(starts: NDArray[np.int64], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Cut a range at the shards' `starts`: (shard, first and last within it), none empty."""
    if not 0 <= start <= stop <= starts[-1]:
        raise IndexError(f"{start} to {stop} is no range within 0 to {starts[-1]}")
    shard = int(np.searchsorted(starts, start, side="right")) - 1
    while start < stop:
        offset, end = int(starts[shard]), min(stop, int(starts[shard + 1]))
        yield shard, start - offset, end - offset
        start, shard = end, shard + 1
