"""A user's own text: a folder of `<language>.{jsonl,txt,parquet}`: `data=files data.path=…`.

Which documents are held out is decided by a hash of their text (``marco.data.held_out``).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

from marco.data.documents import Corpus, Document
from marco.data.held_out import split_by_hash
from marco.data.settings import Data
from marco.data.text_files import FORMATS, PACKED, read_texts
from marco.errors import ConfigError, DataError, nearest
from marco.languages import canonical, get

_NAME = re.compile(
    rf"(?P<language>[^.]+)(\.[^.]+)*?\.(parquet|({'|'.join(FORMATS)})({'|'.join(PACKED)})?)"
)
_EXPECTED = "files named <language>.jsonl, .txt or .parquet, such as swh.jsonl"


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
        return list(self.files())

    def check(self) -> None:
        """Look at the folder without reading the files.

        Raises:
            ConfigError: the folder, or a language's file, is not there; an unknown language.
            DataError: a file of 0 bytes.
        """
        for paths in self.files().values():
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
            for code, paths in self.files().items()
        }
        corpus = split_by_hash(
            documents, self.held_out_fraction, self.min_held_out, self.max_held_out
        )
        return replace(corpus, notes=notes + corpus.notes)

    def files(self) -> dict[str, list[Path]]:
        """Return code → its files, sorted by name."""
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            reason = "is a file, not a folder" if folder.exists() else "does not exist"
            siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
            hint = nearest(folder.name, [entry.name for entry in siblings if entry.is_dir()])
            raise ConfigError(f"data.path={self.path} {reason}.{hint} It must hold {_EXPECTED}.")
        matches = [
            (match["language"], path)
            for path in sorted(folder.iterdir())
            if path.is_file() and (match := _NAME.fullmatch(path.name))
        ]
        if not matches:
            raise ConfigError(f"data.path={self.path}: no texts there; it must hold {_EXPECTED}.")
        if self.languages is None:
            return _all_files(self.path, matches)
        if not self.languages:
            raise ConfigError(
                "data.languages is empty: name some, or null for all files' languages."
            )
        found: dict[str, list[Path]] = {code: [] for code in canonical(self.languages)}
        for word, path in matches:
            if (code := _code(word)) in found:
                found[code].append(path)
        for code, paths in found.items():
            if not paths:
                near = nearest(f"{code}.jsonl", [path.name for _, path in matches])
                raise ConfigError(
                    f"data.languages: no file for {get(code).name} ({code}) in {self.path}.{near} "
                    f"It would be {code}.jsonl, {code}.txt or {code}.parquet."
                )
        return found

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


def _all_files(folder: str, matches: list[tuple[str, Path]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for word, path in matches:
        try:
            found.setdefault(get(word).code, []).append(path)
        except ConfigError as error:
            raise ConfigError(
                f"data.path={folder}: the file {path.name} names no language: {error} "
                "Rename it, or list the languages to read in data.languages."
            ) from None
    return {code: found[code] for code in sorted(found)}


def _code(word: str) -> str | None:
    try:
        return get(word).code
    except ConfigError:
        return None
