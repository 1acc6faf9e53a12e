"""The n-grams of a corpus as a folder: sorted 64-bit hashes, and a manifest that says of what.

`ngrams.u64` holds every different hash once, rising, 8 bytes each, little-endian; `manifest.json`
what is in it and what an n-gram is (`ngrams`). Written in bounded memory: batches of text become
sorted runs on the disk, which are merged by ranges of the hash. Looking up maps the file.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marco.errors import ConfigError, DataError
from marco.evaluation.contamination.ngrams import (
    NORMALISATION,
    WORDS,
    Grams,
    Hashes,
    Lengths,
    hash_ngrams,
)

HASHES, MANIFEST = "ngrams.u64", "manifest.json"
_FORMAT = 1
_DTYPE = np.dtype("<u8")

BATCH = 1 << 20  # characters that are hashed at once
RUN = 1 << 24  # hashes in memory: 128 MiB, and up to three times that while they are sorted


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index holds.

    Attributes:
        source: where the text came from, for people.
        words: words of an n-gram.
        characters: characters of one that begins with Chinese or Japanese, and with Thai and so on.
        normalisation: how text was made comparable.
        count: different n-grams.
        ngrams: n-grams, repeated ones counted again.
        documents: texts, those too short for an n-gram included.
        bytes: of all text, as UTF-8.
        format: of the folder.
    """

    source: str
    words: int
    characters: tuple[int, int]
    normalisation: str
    count: int
    ngrams: int
    documents: int
    bytes: int
    format: int = _FORMAT


class NgramIndex:
    """An index that is there. Raises ConfigError or DataError where it is none, or damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _read_manifest(folder)
        self.lengths = Lengths.of(self.manifest.words)
        path, wanted = folder / HASHES, self.manifest.count * _DTYPE.itemsize
        size = path.stat().st_size if path.exists() else None
        if size != wanted:
            has = "is not there" if size is None else f"has {size:,} bytes, not {wanted:,}"
            raise DataError(f"{path} {has}: build the index again.")

    @cached_property
    def hashes(self) -> Hashes:
        """All hashes, rising, mapped from the disk."""
        if self.manifest.count == 0:
            return np.empty(0, np.uint64)
        return np.memmap(self.folder / HASHES, _DTYPE, "r")

    def ngrams(self, texts: Sequence[str]) -> Grams:
        """Return the n-grams of texts, of this index's lengths."""
        return hash_ngrams(texts, self.lengths)

    def contains(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Return which hashes are in the index, in their order; sorted ones read the disk best."""
        if len(self.hashes) == 0:
            return np.zeros(len(hashes), np.bool_)
        different, places = np.unique(hashes, return_inverse=True)
        at = np.minimum(np.searchsorted(self.hashes, different), len(self.hashes) - 1)
        found: NDArray[np.bool_] = (self.hashes[at] == different)[places]
        return found


def build_index(
    texts: Iterable[str],
    folder: Path,
    *,
    source: str,
    words: int = WORDS,
    run: int = RUN,
    batch: int = BATCH,
) -> NgramIndex:
    """Write the index of `texts`, read once, and return it.

    Args:
        texts: the documents; no n-gram spans two.
        folder: must not exist; it is there whole or not at all.
        source: for the manifest.
        words: of an n-gram; see `ngrams` for scripts without spaces.
        run: hashes that are held in memory.
        batch: characters of text that are hashed at once, in about 100 bytes of memory each; a
            document is never cut.

    Raises:
        ConfigError: the folder exists or cannot be written, or fewer than 1 word.
    """
    if words < 1:
        raise ConfigError(f"words={words}: an n-gram has at least 1.")
    refuse_existing(folder)
    lengths = Lengths.of(words)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise ConfigError(f"index={folder} cannot be written: {error}") from error
    try:
        runs = _Runs(beside, run)
        documents = size = 0
        for held in _batches(texts, batch):
            runs.add(hash_ngrams(held, lengths).hashes)
            documents += len(held)
            size += sum(len(text.encode("utf-8", "surrogatepass")) for text in held)
        count = runs.merge(beside / HASHES)
        manifest = Manifest(
            source, words, (lengths.dense, lengths.sparse), NORMALISATION,
            count, runs.added, documents, size,
        )  # fmt: skip
        text = json.dumps(asdict(manifest), ensure_ascii=False, indent=2)
        (beside / MANIFEST).write_text(text + "\n", encoding="utf-8")
        beside.chmod(0o755)  # mkdtemp's is for its owner alone
        os.rename(beside, folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return NgramIndex(folder)


def refuse_existing(folder: Path) -> None:
    """Raise ConfigError where something has the name already: an index is never overwritten."""
    if folder.exists():
        raise ConfigError(f"index={folder} exists: name another folder, or remove it.")


class _Runs:
    """Hashes so far: some in memory, the others in sorted files."""

    def __init__(self, folder: Path, size: int) -> None:
        self.added = 0
        self._folder = folder
        self._size = size
        self._held: list[Hashes] = []
        self._count = 0
        self._files: list[Path] = []

    def add(self, hashes: Hashes) -> None:
        self.added += len(hashes)
        self._held.append(hashes)
        self._count += len(hashes)
        if self._count >= self._size:
            self._write()

    def merge(self, path: Path) -> int:
        """Write all different hashes into one file, remove the runs, return how many there are."""
        if self._held:
            self._write()
        runs = [np.memmap(file, _DTYPE, "r") for file in self._files]
        # hashes are spread evenly: so many equal ranges of them have about a run's size each
        parts = max(1, -(-sum(map(len, runs)) // self._size))
        edges = np.array([part * (2**64 // parts) for part in range(1, parts)], np.uint64)
        cuts = [[0, *np.searchsorted(each, edges).tolist(), len(each)] for each in runs]
        count = 0
        with path.open("wb") as file:
            for part in range(parts):
                slices = [
                    each[cut[part] : cut[part + 1]] for each, cut in zip(runs, cuts, strict=True)
                ]
                if slices:
                    merged = _different(np.concatenate(slices))
                    merged.astype(_DTYPE, copy=False).tofile(file)
                    count += len(merged)
        del runs
        for each in self._files:
            each.unlink()
        return count

    def _write(self) -> None:
        different = _different(np.concatenate(self._held))
        self._held, self._count = [], 0
        if len(different):
            path = self._folder / f"run-{len(self._files)}"
            different.astype(_DTYPE, copy=False).tofile(path)
            self._files.append(path)


def _different(hashes: Hashes) -> Hashes:
    """Sort in place, and keep one of each (numpy 2.3's unique hashes first: six times slower)."""
    hashes.sort()
    new = np.ones(len(hashes), np.bool_)
    np.not_equal(hashes[1:], hashes[:-1], out=new[1:])
    return hashes[new]


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield texts together until they have `size` characters."""
    held: list[str] = []
    characters = 0
    for text in texts:
        held.append(text)
        characters += len(text)
        if characters >= size:
            yield held
            held, characters = [], 0
    if held:
        yield held


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**{**fields, "characters": tuple(fields["characters"])})
    except FileNotFoundError:
        raise ConfigError(
            f"index={folder}: there is no n-gram index; `marco ngrams build` writes one."
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is not an n-gram index's manifest ({error}).") from error
    if manifest.format != _FORMAT or manifest.normalisation != NORMALISATION:
        raise DataError(
            f"{path}: format {manifest.format} with {manifest.normalisation} was written by "
            f"another version (here: {_FORMAT} with {NORMALISATION}): build it again."
        )
    lengths = Lengths.of(manifest.words)
    if manifest.characters != (lengths.dense, lengths.sparse) or manifest.count < 0:
        raise DataError(f"{path} is damaged: build the index again.")
    return manifest
