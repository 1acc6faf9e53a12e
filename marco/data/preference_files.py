"""A user's own preferences: a folder of `<language>.jsonl`: `data=preference data.path=…`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from marco.data.documents import Corpus
from marco.data.language_files import language_files
from marco.data.preference import PreferenceData
from marco.data.preference_rows import Pair, parse
from marco.data.settings import Data
from marco.data.text_files import objects_of
from marco.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class PreferenceFiles(PreferenceData):
    """Settings of a folder of pairs, each a line with `prompt`, `chosen` and `rejected`.

    A language may have several files, as with `data=files`, packed or not.

    Attributes:
        path: the folder.
        languages: what to read; None means every file's language.
        held_out: a corpus whose held-out text is evaluated; None: nothing is.
        max_line_megabytes: a longer line is an error.
    """

    path: str
    languages: list[str] | None = None
    held_out: Data | None = None
    max_line_megabytes: int = 16

    def language_codes(self) -> list[str]:
        """See `Data`: of the held-out text; without it, of the files."""
        return self.source_names() if self.held_out is None else self.held_out.language_codes()

    def source_names(self) -> list[str]:
        """See `Data`."""
        return list(self._files())

    def holds_out(self) -> bool:
        """See `Data`."""
        return self.held_out is not None

    def gives_text(self) -> bool:
        """See `Data`: only held-out text."""
        return False

    def check(self) -> None:
        """See `Data`; looks for the files, without reading them."""
        super().check()
        if self.max_line_megabytes < 1:
            raise ConfigError(f"data.max_line_megabytes={self.max_line_megabytes}: at least 1.")
        for paths in self._files().values():
            for path in paths:
                if ".jsonl" not in path.suffixes:
                    raise ConfigError(f"data.path: {path} is no .jsonl, as files of pairs are.")
                if path.stat().st_size == 0:
                    raise DataError(f"{path} is empty (0 bytes).")
        if self.held_out is not None:
            self.held_out.check()

    def load(self) -> Corpus:
        """See `Data`: no more than the held-out text."""
        if self.held_out is None:
            return Corpus({}, {})
        held_out = self.held_out.load()
        return Corpus({}, held_out.held_out, held_out.notes)

    def pairs(self, code: str, corpus: Corpus) -> Iterator[Pair]:
        """See `PreferenceData`."""
        for path in self._files()[code]:
            limit = self.max_line_megabytes * 1_000_000
            for number, row in objects_of(path, limit, '{"prompt": "…", …}'):
                yield parse(row, f"{path}, line {number}")

    def _files(self) -> dict[str, list[Path]]:
        return language_files(self.path, self.languages)
