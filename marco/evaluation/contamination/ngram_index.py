"""The n-grams of a corpus as a folder: sorted 64-bit hashes, and a manifest that says of what.

`ngrams.u64` holds every different hash once, rising, 8 bytes each, little-endian; `manifest.json`
what is in it and what an n-gram is (`ngrams`). Written through files of equal ranges of the hash,
so that a 256th of all n-grams are in memory at once. Looking up maps the file.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marco.errors import ConfigError, DataError
from marco.evaluation.contamination.ngrams import (
    NORMALISATION,
    WORDS,
    Hashes,
    Lengths,
    hash_ngrams,
)

HASHES, MANIFEST = "ngrams.u64", "manifest.json"
_FORMAT = 1
_DTYPE = np.dtype("<u8")

BATCH = 1 << 20  # characters that are hashed at once
BUCKETS = 256  # files open while an index is built; each must fit into memory


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
    batch: int = BATCH,
) -> NgramIndex:
    """Write the index of `texts`, read once, and return it.

    Args:
        texts: the documents; no n-gram spans two.
        folder: must not exist; it is there whole or not at all.
        source: for the manifest.
        words: of an n-gram; see `ngrams` for scripts without spaces.
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
        documents = size = 0
        with closing(_Buckets(beside)) as buckets:
            for held in _batches(texts, batch):
                buckets.add(hash_ngrams(held, lengths).hashes)
                documents += len(held)
                size += sum(len(text.encode("utf-8", "surrogatepass")) for text in held)
            count = buckets.merge(beside / HASHES)
        manifest = Manifest(
            source, words, (lengths.dense, lengths.sparse), NORMALISATION,
            count, buckets.added, documents, size,
        )  # fmt: skip
        text = json.dumps(asdict(manifest), ensure_ascii=False, indent=2)
        (beside / MANIFEST).write_text(text + "\n", encoding="utf-8")
        beside.chmod(0o755)  # mkdtemp's is for its owner alone
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return NgramIndex(folder)


def refuse_existing(folder: Path) -> None:
    """Raise ConfigError where something has the name already: an index is never overwritten."""
    if folder.exists():
        raise ConfigError(f"index={folder} exists: name another folder, or remove it.")


class _Buckets:
    """Hashes so far, in files by their first bits; hashes are spread evenly, and so are these."""

    def __init__(self, folder: Path) -> None:
        self.added = 0
        self._files = [(folder / f"bucket-{number}").open("w+b") for number in range(BUCKETS)]

    def add(self, hashes: Hashes) -> None:
        self.added += len(hashes)
        hashes = np.sort(hashes)
        edges = np.arange(BUCKETS, dtype=np.uint64) * np.uint64(2**64 // BUCKETS)
        cuts = [*np.searchsorted(hashes, edges).tolist(), len(hashes)]
        for file, (low, high) in zip(self._files, pairwise(cuts), strict=True):
            file.write(hashes[low:high].astype(_DTYPE, copy=False).tobytes())

    def merge(self, path: Path) -> int:
        """Write all different hashes into one file, and return how many there are."""
        count = 0
        with path.open("wb") as whole:
            for file in self._files:
                file.seek(0)
                different = _different(np.frombuffer(file.read(), _DTYPE).copy())
                different.tofile(whole)
                count += len(different)
        return count

    def close(self) -> None:
        for file in self._files:
            file.close()
            Path(file.name).unlink()


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
            f"{folder}: there is no n-gram index here; `marco ngrams` writes one."
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
