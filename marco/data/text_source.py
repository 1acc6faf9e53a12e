"""A source of a mix that is text in files: `_target_: marco.data.text_source.TextSource`."""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marco.data.documents import Document
from marco.data.settings import SourceSettings
from marco.data.stores import SEVERAL
from marco.data.text_files import FORMATS, PACKED, read_texts
from marco.data.token_cache import tokenised
from marco.errors import ConfigError, DataError, nearest
from marco.languages import get
from marco.tokenizers.cache import cached

if TYPE_CHECKING:
    from marco.data.stores import Source
    from marco.tokenizers import Tokenizer

log = logging.getLogger(__name__)

_ENDINGS = tuple(
    f".{kind}{packed}"
    for kind in FORMATS
    for packed in ("", *(PACKED if kind != "parquet" else ()))
)


@dataclass(frozen=True)
class TextSource(SourceSettings):
    """Settings of a source in text files, read one after the other.

    The text is tokenised once, and kept under a hash of the files' bytes. A file's hash is itself
    kept, under its path, size and time of change, so that a large folder is not read at every
    start: a file that is rewritten with another text of the same size *and* is given back its old
    time to the nanosecond (`touch -r`, some copying tools) is taken for the old one.

    Attributes:
        path: a file, a glob ("corpora/swh/*.jsonl.gz"), or a list of these, in order.
        language: the text's language; None: the source's name is one.
        min_characters: shorter documents are dropped, and counted.
        max_line_megabytes: a longer line (or .txt document, or Parquet cell) is an error.
    """

    path: str | list[str]
    language: str | None = None
    min_characters: int = 1
    max_line_megabytes: int = 16

    def check(self, where: str) -> None:
        """Look for the files, without reading them.

        Args:
            where: the key of these settings, such as "data.sources.eng".

        Raises:
            ConfigError: a wrong value, or nothing at `path`.
            DataError: a file of 0 bytes.
        """
        for key in ("min_characters", "max_line_megabytes"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{where}.{key}={getattr(self, key)}: at least 1.")
        if self.language is not None and self.language != SEVERAL:
            get(self.language)
        for file in self.files(where):
            if file.stat().st_size == 0:
                raise DataError(f"{where}.path: {file} is empty (0 bytes).")

    def open(self, name: str, language: str, tokenizer: Tokenizer) -> Source:
        """Return the tokenised text.

        Raises:
            ConfigError, DataError: as `check` does; text that cannot be used, with file and line.
        """
        where = f"data.sources.{name}"
        self.check(where)
        files = self.files(where)
        settings = (self.min_characters, [_file_hash(file) for file in files])
        key = hashlib.sha256(f"{type(self).__name__}{settings}".encode()).hexdigest()
        total = sum(file.stat().st_size for file in files)
        source = tokenised(
            name, language, self._documents(where, language, files), key, tokenizer, total
        )
        if len(source.store) == 0:
            raise DataError(
                f"{where}.path: no documents of at least {self.min_characters} characters in "
                f"{', '.join(map(str, files)):.200}."
            )
        return source

    def files(self, where: str) -> list[Path]:
        """Return the files in order. Raises ConfigError, see `check`."""
        paths = [self.path] if isinstance(self.path, str) else self.path
        if not paths:
            raise ConfigError(f"{where}.path is empty: name a file, a glob, or several.")
        return [file for path in paths for file in found_files(path, where)]

    def _documents(self, where: str, language: str, files: list[Path]) -> Iterator[Document]:
        """Yield the documents; what was dropped is logged after the last one."""
        short = 0
        ids = array("q")  # 8 bytes a document that has one
        for file in files:
            for entry in read_texts(file, self.max_line_megabytes * 1_000_000):
                text = unicodedata.normalize("NFC", entry.text)
                if len(text) < self.min_characters:
                    short += 1
                    continue
                if entry.id is not None:
                    ids.append(hash(entry.id))
                place = entry.id or f"{file.name}:{entry.number}"
                yield Document(text, language, file.name, place)
        if short:
            log.warning(
                "%s: %d documents dropped, shorter than min_characters=%d.",
                where, short, self.min_characters,
            )  # fmt: skip
        if twice := len(ids) - len(np.unique(np.frombuffer(ids, np.int64))):
            log.warning("%s: %d documents have an id that an earlier one has.", where, twice)


def found_files(path: str, where: str, endings: tuple[str, ...] = _ENDINGS) -> list[Path]:
    """Return the files of one entry (a file or a glob), sorted.

    Raises:
        ConfigError: there is none, or one that has none of the `endings`.
    """
    expanded = Path(path).expanduser()
    found = [expanded] if expanded.exists() else sorted(map(Path, glob(str(expanded))))  # noqa: PTH207 - absolute, or not
    if not found:
        siblings = expanded.parent.iterdir() if expanded.parent.is_dir() else ()
        hint = nearest(expanded.name, [entry.name for entry in siblings])
        raise ConfigError(f"{where}.path={path}: there is no such file.{hint}")
    for file in found:
        if file.is_dir():
            raise ConfigError(
                f"{where}.path={path} is a folder: name its files, such as {path}/*.jsonl."
            )
        if not file.name.endswith(endings):
            raise ConfigError(
                f"{where}.path: {file.name} ends in none of {', '.join(endings)}, "
                "which say what it holds."
            )
    return found


def _file_hash(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, read again only where its size or time changed."""
    status = file.stat()
    known = f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    name = hashlib.sha256(known.encode(errors="surrogateescape")).hexdigest()[:32]

    def read() -> str:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    return cached(f"files/{name}.sha256", read)
