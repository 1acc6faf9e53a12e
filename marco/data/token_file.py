"""One source's tokens in one file as datatrove writes it: `.ds`, `.ds.index`, `.ds.metadata`.

`.ds` holds the ids, 2 bytes each where the vocabulary fits and 4 elsewhere, `.ds.index` for every
document the offset after its end-of-text (8 bytes each), both little-endian.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marco.errors import DataError

ENTRY = np.dtype("<u8")


def token_type(vocabulary: int) -> np.dtype[Any]:
    """Return how the ids of a vocabulary are written; datatrove decides likewise."""
    return np.dtype("<u2" if vocabulary <= 1 << 16 else "<u4")


class TokenWriter:
    """Writes documents one batch after the other; holds none of them.

    What `append` has returned from is in the file: there is no buffer that could be lost when the
    disk is full.

    Args:
        path: the `.ds` file; its folder exists.
        vocabulary: ids are below it.
        tokenizer: its name, for the metadata.
    """

    def __init__(self, path: Path, vocabulary: int, tokenizer: str) -> None:
        self._path = path
        self._type = token_type(vocabulary)
        self._tokenizer = tokenizer
        self._tokens = path.open("wb", buffering=0)
        try:
            self._index = Path(f"{path}.index").open("wb", buffering=0)  # noqa: SIM115 - in close
        except OSError:
            self._tokens.close()
            raise
        self.tokens = 0
        self.documents = 0

    def append(self, tokens: NDArray[np.int32], ends: NDArray[np.int64]) -> None:
        """Write documents.

        Args:
            tokens: [n], every document followed by its end-of-text.
            ends: [documents], the offsets behind them within `tokens`.

        Raises:
            OSError: the disk is full; what was appended before can be read.
        """
        _write_all(self._tokens, tokens.astype(self._type).tobytes())
        _write_all(self._index, (ends + self.tokens).astype(ENTRY).tobytes())
        self.tokens += len(tokens)
        self.documents += len(ends)

    def finish(self) -> None:
        """Write the metadata (tokenizer and bytes a token; tokens; the same in short), and close.

        Raises:
            OSError: the disk is full.
        """
        Path(f"{self._path}.metadata").write_text(
            f"{self._tokenizer}|{self._type.itemsize}\n{self.tokens}\n{self.tokens / 1e6:.3g} MT",
            encoding="utf-8",
        )
        for file in (self._tokens, self._index):
            os.fsync(file.fileno())
        self.close()

    def close(self) -> None:
        """Close the files as they are."""
        self._tokens.close()
        self._index.close()

    def written(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return everything that was appended, and where its documents end."""
        tokens = np.fromfile(self._path, self._type, self.tokens)
        ends = np.fromfile(f"{self._path}.index", ENTRY, self.documents)
        return tokens.astype(np.int32), ends.astype(np.int64)


@dataclass(frozen=True)
class TokenFile:
    """Reads what `TokenWriter` wrote, through a map that is opened when it is first needed.

    Attributes:
        path: the `.ds` file.
        documents: how many it holds.
        tokens: how many it holds.
        token_bytes: 2 or 4.
    """

    path: Path
    documents: int
    tokens: int
    token_bytes: int
    _maps: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __len__(self) -> int:
        return self.tokens

    def read(self, start: int, stop: int) -> NDArray[np.int32]:
        """See `TokenStore`."""
        return self._map("", np.dtype(f"<u{self.token_bytes}"), self.tokens)[start:stop].astype(
            np.int32
        )

    def ends(self, first: int, last: int) -> NDArray[np.int64]:
        """See `TokenStore`."""
        return self._map(".index", ENTRY, self.documents)[first:last].astype(np.int64)

    def mask(self, start: int, stop: int) -> None:
        """See `TokenStore`: all are targets."""

    def is_whole(self) -> bool:
        """Whether both files have the sizes they must have, and the index ends with the tokens."""
        try:
            self.read(0, 0)
            return bool(self.ends(self.documents - 1, self.documents)[0] == self.tokens)
        except (DataError, IndexError):
            return False

    def _map(self, suffix: str, kind: np.dtype[Any], length: int) -> NDArray[Any]:
        if suffix not in self._maps:
            path = Path(f"{self.path}{suffix}")
            try:
                size = path.stat().st_size
                if size != length * kind.itemsize:
                    raise DataError(
                        f"{path} has {size} bytes, not {length * kind.itemsize}: it is damaged. "
                        "Remove its folder, and it is made again."
                    )
                self._maps[suffix] = np.memmap(path, kind, "r", shape=(length,))
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}.") from None
        return self._maps[suffix]


def _write_all(file: Any, data: bytes) -> None:
    """An unbuffered file may take only a part of what it is given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
