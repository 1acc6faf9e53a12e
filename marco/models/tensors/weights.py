"""The tensors of a model on disk, by name; read by rows, through safetensors' memory maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from marco.errors import DataError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
#: safetensors' name of each type that weights may have.
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
#: Values read at a time, of each model: 4 MiB in fp32.
PIECE = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """Where a block of a tensor is: `key` of `file` holds `sizes` values from `offsets` on."""

    file: Path
    key: str
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """One tensor: its type, its shape, and the blocks that make it up."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]

    @property
    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the rows [from, to) of each piece of at most `PIECE` values (one row at least)."""
        rows = max(1, PIECE // max(1, prod(self.shape[1:])))
        for start in range(0, self.shape[0], rows):
            yield start, min(start + rows, self.shape[0])


#: Rows [from, to) of a tensor, in its stored type.
Rows = Callable[[int, int], torch.Tensor]


@dataclass(frozen=True)
class Weights:
    """All tensors of a model.

    Attributes:
        name: for messages.
        tensors: by their names in transformers, tied ones once, in the order of the files.
    """

    name: str
    tensors: dict[str, Stored]

    @contextmanager
    def open(self, name: str) -> Iterator[Rows]:
        """Yield a function that reads rows of a tensor; the files are unmapped afterwards.

        What it returns may be a view of the mapped file: copy it before leaving.
        """
        stored = self.tensors[name]
        with ExitStack() as stack:
            files = {chunk.file: stack.enter_context(opened(chunk.file)) for chunk in stored.chunks}

            def rows(start: int, stop: int) -> torch.Tensor:
                if len(stored.chunks) == 1:
                    (chunk,) = stored.chunks
                    whole: torch.Tensor = files[chunk.file].get_slice(chunk.key)[start:stop]
                    return whole
                out = torch.empty((stop - start, *stored.shape[1:]), dtype=stored.dtype)
                for chunk in stored.chunks:
                    low = max(start, chunk.offsets[0])
                    high = min(stop, chunk.offsets[0] + chunk.sizes[0])
                    if low < high:
                        first = chunk.offsets[0]
                        part = files[chunk.file].get_slice(chunk.key)[low - first : high - first]
                        place = [slice(low - start, high - start)]
                        pairs = zip(chunk.offsets[1:], chunk.sizes[1:], strict=True)
                        place += [slice(offset, offset + size) for offset, size in pairs]
                        out[tuple(place)] = part
                return out

            yield rows

    def pieces(self, name: str) -> Iterator[torch.Tensor]:
        """Yield a tensor in pieces of whole rows, in its stored type."""
        with self.open(name) as rows:
            for start, stop in self.tensors[name].ranges:
                yield rows(start, stop)


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Open a safetensors file; what is wrong with it is a DataError that names it."""
    try:
        with safe_open(file, framework="pt") as stream:
            yield stream
    except (SafetensorError, FileNotFoundError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def of_folder(folder: Path) -> Weights:
    """Return the weights of a folder that transformers wrote, in one file or in shards.

    Raises:
        DataError: a file is missing or damaged, or a tensor is no floating-point matrix or vector.
    """
    tensors: dict[str, Stored] = {}
    for file, wanted in _files(folder).items():
        with opened(file) as stream:
            names = list(stream.keys())
            if missing := sorted(set(wanted or names) - set(names)):
                raise DataError(f"{file} has no {missing[0]}, which {INDEX} says is in it.")
            for name in wanted or names:
                view = stream.get_slice(name)
                shape = tuple(view.get_shape())
                kind = str(view.get_dtype())
                check(file, name, kind, shape)
                whole = Chunk(file, name, (0,) * len(shape), shape)
                tensors[name] = Stored(DTYPES[kind], shape, (whole,))
    return Weights(str(folder), tensors)


def check(file: Path, name: str, kind: str, shape: Sequence[int]) -> None:
    """Raise DataError unless safetensors' type `kind` and the shape are those of a weight."""
    if kind not in DTYPES:
        raise DataError(
            f"{file}: {name} has the type {kind}; weights are {', '.join(DTYPES)}. Quantised "
            "models cannot be merged: take the model that was quantised."
        )
    if not shape or not prod(shape):
        raise DataError(f"{file}: {name} has the shape {list(shape)}: nothing to read by rows.")


def _files(folder: Path) -> dict[Path, list[str] | None]:
    """The files of a model, each with the tensors to read from it; None is all of them."""
    if not (folder / INDEX).is_file():
        single = folder / SINGLE
        if not single.is_file():
            raise DataError(f"{folder} has neither {SINGLE} nor {INDEX}.")
        return {single: None}
    try:
        where = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        found: dict[Path, list[str] | None] = {}
        for name, file in where.items():
            place = folder / file
            if place.parent != folder:
                raise DataError(f"{folder / INDEX} names {file}, which is in another folder.")
            names = found.setdefault(place, [])
            assert names is not None
            names.append(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder / INDEX} is not an index of safetensors: {error!r}") from error
    return found
