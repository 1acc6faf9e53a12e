"""A user's own text: a folder of `<language>.{jsonl,txt,parquet}`: `data=files data.path=…`.

Which documents are held out is decided by a hash of their text (``marco.data.held_out``).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

from marco.data.documents import Corpus, Document
from marco.data.held_out import split_by_hash
from marco.data.language_files import language_files
from marco.data.settings import Data
from marco.data.text_files import read_texts
from marco.errors import ConfigError, DataError


@dataclass(frozen=True)
class TextFiles(Data):
    """Settings of a folder of text files.

    A language may have several files: ``swh.jsonl`` and ``swh.2024-05.jsonl.gz`` are both Swahili.

    Attributes:
        path: the folder, absolute or relative to where the command runs.
        languages: what to read; None means every file's language.
        held_out_fraction: share of the different documents to hold out, 0 to 1.
        min_held_out: documents held out at least, in every language.
        max_held_out: documents held out at most; evaluation reads them all, again and again.
        min_characters: shorter documents are dropped.
        max_line_megabytes: a longer line (or .txt document, or Parquet cell) is an error.
    """

    path: str
    languages: list[str] | None = None
    held_out_fraction: float = 0.02
    min_held_out: int = 1
    max_held_out: int = 1000
    min_characters: int = 1
    max_line_megabytes: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.held_out_fraction < 1:
            raise ConfigError(f"data.held_out_fraction={self.held_out_fraction}: between 0 and 1.")
        if self.min_held_out < 1:
            raise ConfigError(f"data.min_held_out={self.min_held_out}: at least 1.")
        if self.max_held_out < self.min_held_out:
            raise ConfigError(
                f"data.max_held_out={self.max_held_out}: "
                f"at least data.min_held_out={self.min_held_out}."
            )
        for key in ("min_characters", "max_line_megabytes"):
            if getattr(self, key) < 1:
                raise ConfigError(f"data.{key}={getattr(self, key)}: at least 1.")

    def language_codes(self) -> list[str]:
        """Return the canonical codes: as configured, or those of the files, sorted."""
        return list(self._files())

    def check(self) -> None:
        """Look at the folder without reading the files.

        Raises:
            ConfigError: the folder, or a language's file, is not there; an unknown language.
            DataError: a file of 0 bytes.
        """
        for paths in self._files().values():
            for path in paths:
                if path.stat().st_size == 0:
                    raise DataError(f"{path} is empty (0 bytes).")

    def load(self) -> Corpus:
        """Read every file and split its documents.

        Raises:
            ConfigError, DataError: as ``check`` does; text that cannot be used, with its file and
                line; a language with too few documents to hold any out.
        """
        self.check()
        notes: list[str] = []
        documents = {
            code: [doc for path in paths for doc in self._read(path, code, notes)]
            for code, paths in self._files().items()
        }
        corpus = split_by_hash(
            documents, self.held_out_fraction, self.min_held_out, self.max_held_out
        )
        return replace(corpus, notes=notes + corpus.notes)

    def _files(self) -> dict[str, list[Path]]:
        return language_files(self.path, self.languages)

    def _read(self, path: Path, code: str, notes: list[str]) -> list[Document]:
        documents = []
        short = 0
        for entry in read_texts(path, self.max_line_megabytes * 1_000_000):
            text = unicodedata.normalize("NFC", entry.text)
            if len(text) < self.min_characters:
                short += 1
                continue
            place = f"{path.name}:{entry.number}" if entry.id is None else entry.id
            documents.append(Document(text, code, path.name, place))
        if short:
            limit = f"data.min_characters={self.min_characters}"
            notes.append(f"{path.name}: {short} dropped, shorter than {limit}")
        if not documents:
            raise DataError(
                f"{path}: no documents of at least {self.min_characters} characters "
                f"(data.min_characters); {short} shorter ones."
            )
        return documents
