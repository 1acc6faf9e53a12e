"""A user's own parallel text: `.tsv`, `.jsonl`, or Moses files (`corpus.en` beside `corpus.sw`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from marco.data.pair_counts import FILES, PairCounts
from marco.data.pair_rows import jsonl_rows, moses_rows, tsv_header, tsv_rows
from marco.data.pairs import ParallelText
from marco.data.text_files import PACKED
from marco.errors import ConfigError, DataError, nearest
from marco.languages import canonical, get

_EXPECTED = (
    "a .tsv or .jsonl file, what Moses files share (corpus, for corpus.en and corpus.sw), or a "
    "folder of such files"
)


@dataclass(frozen=True)
class Aligned:
    """Files that are read together: one, or the files of a Moses corpus by canonical code."""

    paths: tuple[Path, ...]
    codes: tuple[str, ...] | None = None

    @property
    def is_tsv(self) -> bool:
        """Whether it is one file with tabs."""
        return self.codes is None and _bare(self.paths[0]).endswith(".tsv")


@dataclass(frozen=True)
class PairFiles(ParallelText):
    """Settings of parallel text in files, plain or packed (.gz, .xz), UTF-8.

    Attributes:
        path: a file, a folder, or what the names of a Moses corpus's files share.
        languages: a .tsv file's columns, where no header names them; otherwise what to take.
            None: whatever is there, and a .tsv file has a header.
        max_line_megabytes: a longer line is an error.
    """

    path: str
    languages: list[str] | None = None
    max_line_megabytes: int = 16

    def check(self, where: str) -> None:
        """See `ParallelText`; looks at names and headers, not at all the text.

        Raises:
            ConfigError: no such file; a Moses corpus without a second language.
            DataError: a file of 0 bytes; a .tsv file's header is none.
        """
        if self.max_line_megabytes < 1:
            raise ConfigError(f"{where}.max_line_megabytes={self.max_line_megabytes}: at least 1.")
        found = self._find(where)[0]
        for path in (path for aligned in found for path in aligned.paths):
            if path.stat().st_size == 0:
                raise DataError(f"{path} is empty (0 bytes).")
        if all(aligned.codes is not None for aligned in found):
            names = [path.name for aligned in found for path in aligned.paths]
            self._all_met({code for aligned in found for code in aligned.codes or ()}, names)
        super().check(where)

    def codes(self, where: str) -> list[str] | None:
        """See `ParallelText`: None where a .jsonl file may have any language."""
        if self.languages is not None:
            return self._codes(f"{where}.languages")
        found: list[str] = []
        for aligned in self._find(where)[0]:
            if aligned.codes is None and not aligned.is_tsv:
                return None
            found += aligned.codes or tsv_header(aligned.paths[0], self._max_bytes)
        return list(dict.fromkeys(found))

    def rows(self, counts: PairCounts) -> Iterator[dict[str, str]]:
        """See `ParallelText`.

        Raises:
            DataError: with file and line; a language of `languages` that no line has.
        """
        found, ignored = self._find("")
        if ignored:
            counts.dropped[FILES] += ignored
        languages = self._codes("languages")
        keys: dict[str, str | None] = {}
        met: set[str] = set()
        for aligned in found:
            path = aligned.paths[0]
            if aligned.codes is not None:
                met.update(aligned.codes)
                yield from moses_rows(
                    dict(zip(aligned.codes, aligned.paths, strict=True)), self._max_bytes
                )
            elif aligned.is_tsv:
                met.update(languages or ())
                yield from tsv_rows(path, languages, self._max_bytes)
            else:
                yield from jsonl_rows(path, languages, self._max_bytes, keys)
        self._all_met(met | {code for code in keys.values() if code}, list(keys))

    def text_key(self) -> str:
        """See `ParallelText`: reads every byte (about 0.5 GB/s)."""
        digest = hashlib.sha256(repr(self._codes("languages")).encode())
        for aligned in self._find("")[0]:
            digest.update(repr((aligned.is_tsv, aligned.codes)).encode())
            for path in aligned.paths:
                with path.open("rb") as file:
                    packed = path.suffix if path.suffix in PACKED else ""
                    digest.update(packed.encode() + hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    @property
    def _max_bytes(self) -> int:
        return self.max_line_megabytes * 1_000_000

    def _codes(self, key: str) -> list[str] | None:
        if self.languages is None:
            return None
        try:
            codes = canonical(self.languages)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from None
        if len(codes) < 2:
            raise ConfigError(f"{key}={self.languages}: a pair needs two languages, at least.")
        return codes

    def _all_met(self, met: set[str], words: list[str]) -> None:
        for code in self._codes("languages") or ():
            if code not in met:
                raise DataError(
                    f"{self.path}: nothing is in {get(code).name} ({code}), which `languages` "
                    f"names; there are {', '.join(words) or 'no keys'}.{nearest(code, words)}"
                )

    def _find(self, where: str) -> tuple[list[Aligned], int]:
        """Return what to read, sorted by name, and how many files of a folder are something else.

        Raises:
            ConfigError: there is nothing to read.
        """
        path = Path(self.path).expanduser()
        key = f"{where}.path={self.path}".lstrip(".")
        if path.is_file():
            if not _bare(path).endswith((".tsv", ".jsonl")):
                raise ConfigError(f"{key}: it must be {_EXPECTED}.")
            return [Aligned((path,))], 0
        folder = path if path.is_dir() else path.parent
        beside = sorted(folder.iterdir()) if folder.is_dir() else []
        files = [entry for entry in beside if entry.is_file() and entry.name[0] != "."]
        if path.is_dir():
            tables = [file for file in files if _bare(file).endswith((".tsv", ".jsonl"))]
        else:
            tables = []
            files = [file for file in files if Path(_bare(file)).stem == path.name]
        corpora = self._moses([file for file in files if file not in tables], key)
        found = [Aligned((table,)) for table in tables] + corpora
        if not found:
            near = nearest(path.name, [entry.name for entry in beside])
            raise ConfigError(f"{key}: no parallel text there.{near} It must be {_EXPECTED}.")
        read = sum(len(aligned.paths) for aligned in found)
        return sorted(found, key=lambda aligned: aligned.paths[0].name), len(files) - read

    def _moses(self, files: list[Path], key: str) -> list[Aligned]:
        wanted = self._codes("languages")
        groups: dict[str, dict[str, Path]] = {}
        for file in files:
            stem, _, word = _bare(file).rpartition(".")
            code = _language(word) if stem else None
            if code is None or (wanted is not None and code not in wanted):
                continue
            group = groups.setdefault(stem, {})
            if code in group:
                raise ConfigError(f"{key}: {group[code].name} and {file.name} are both {code}.")
            group[code] = file
        for group in groups.values():
            if len(group) < 2:
                (file,) = group.values()
                others = [other.name for other in files if other != file]
                raise ConfigError(
                    f"{key}: {file.name} has no counterpart in another language"
                    f"{f' of {wanted}' if wanted else ''}.{nearest(file.name, others)}"
                )
        return [Aligned(tuple(group.values()), tuple(group)) for group in groups.values()]


def _bare(path: Path) -> str:
    """A file's name without .gz or .xz."""
    return path.stem if path.suffix in PACKED else path.name


def _language(word: str) -> str | None:
    try:
        return get(word).code
    except ConfigError:
        return None
