"""Where tokens go while a text is tokenised: to the cache's disk, or, where it fails, to memory."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import TracebackType

import numpy as np

from marco.data.encoding import Batch
from marco.data.stores import MemoryStore, Source
from marco.data.token_entry import Entry
from marco.data.token_file import TokenWriter
from marco.errors import DataError

log = logging.getLogger(__name__)


class TokenSink:
    """Takes batches, and returns the source they make. A disk that fails costs a warning.

    Args:
        entry: where to keep them; None: in memory.
        name: the source's.
        language: its language.
        end_of_text: the id that ends documents.
    """

    def __init__(self, entry: Entry | None, name: str, language: str, end_of_text: int) -> None:
        self._entry = entry
        self._name, self._language, self._end_of_text = name, language, end_of_text
        self._writing: tuple[Path, TokenWriter] | None = None
        self._kept: list[Batch] = []
        self._text_bytes = 0
        if entry is not None:
            try:
                self._writing = entry.start()
            except OSError as error:
                self._to_memory(error)

    def __enter__(self) -> TokenSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def append(self, batch: Batch) -> None:
        """Take a batch of documents."""
        self._text_bytes += batch.text_bytes
        if self._writing is not None:
            try:
                self._writing[1].append(batch.tokens, batch.ends)
                return
            except OSError as error:
                self._to_memory(error)
        self._kept.append(batch)

    def finish(self) -> Source:
        """Return the source of everything taken."""
        if self._writing is not None:
            assert self._entry is not None
            try:
                self._entry.commit(*self._writing, self._text_bytes)
            except OSError as error:
                self._to_memory(error)
            else:
                self._writing = None
                found = self._entry.read(self._name, self._language)
                if found is None:
                    raise DataError(f"{self._entry.folder} was removed at once. Start again.")
                return found
        starts = np.cumsum([0, *(len(batch.tokens) for batch in self._kept)])
        ends = [batch.ends + start for batch, start in zip(self._kept, starts, strict=False)]
        store = MemoryStore(
            np.concatenate([np.empty(0, np.int32), *(batch.tokens for batch in self._kept)]),
            np.concatenate([np.empty(0, np.int64), *ends]),
        )
        return Source(self._name, self._language, store, self._end_of_text, self._text_bytes)

    def _to_memory(self, error: OSError) -> None:
        """Go on in memory, with what the disk has."""
        assert self._entry is not None
        log.warning(
            "The token cache in %s cannot be written (%s): '%s' stays in memory, and is tokenised "
            "again next time.",
            self._entry.folder.parent,
            error.strerror or error,
            self._name,
        )
        if self._writing is not None:
            tokens, ends = self._writing[1].written()
            self._kept = [Batch(tokens, ends, 0)]
        self._remove()

    def _remove(self) -> None:
        if self._writing is not None:
            self._writing[1].close()
            shutil.rmtree(self._writing[0], ignore_errors=True)
            self._writing = None
