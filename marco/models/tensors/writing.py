"""Sharded safetensors written piece by piece, as `save_pretrained` would name and index them.

safetensors' own writer takes all tensors of a file at once (5 GB by default). The format is a
length, a JSON header and the bytes one after the other, so pieces can follow each other as they
come: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_state_dict_into_shards_factory

from marco.errors import ConfigError
from marco.models.tensors.weights import DTYPES, INDEX

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Layout:
    """Type and shape of a tensor that will be written."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return prod(self.shape) * self.dtype.itemsize


def shards(tensors: Mapping[str, Layout], max_shard_size: str) -> dict[str, list[str]]:
    """Return the names of the files, and of the tensors in each.

    Args:
        tensors: by name.
        max_shard_size: such as 5GB or 500MB; a larger tensor has a file of its own.

    Raises:
        ConfigError: not a size.
    """
    try:
        split = split_state_dict_into_shards_factory(
            dict(tensors),
            get_storage_size=lambda layout: layout.size,
            filename_pattern="model{suffix}.safetensors",
            max_shard_size=max_shard_size,
        )
    except ValueError as error:
        raise ConfigError(f"max_shard_size={max_shard_size}: {error}") from error
    return dict(split.filename_to_tensors)


def write(
    folder: Path,
    tensors: Mapping[str, Layout],
    files: Mapping[str, list[str]],
    pieces: Callable[[str], Iterable[torch.Tensor]],
) -> None:
    """Write every tensor from the pieces that `pieces(name)` yields: one tensor after the other.

    Args:
        folder: exists.
        tensors: what each will be; its pieces, joined along the first dimension, are of this type.
        files: of `shards`.
        pieces: see above.
    """
    for file, names in files.items():
        with (folder / file).open("wb") as stream:
            stream.write(_header({name: tensors[name] for name in names}))
            for name in names:
                written = sum(
                    stream.write(piece.contiguous().flatten().view(torch.uint8).numpy().data)
                    for piece in pieces(name)
                )
                if written != tensors[name].size:
                    wanted = tensors[name].size
                    raise ValueError(f"{name}: {written} bytes were made, {wanted} announced")
            stream.flush()
            os.fsync(stream.fileno())
    if len(files) > 1:
        index = {
            "metadata": {"total_size": sum(layout.size for layout in tensors.values())},
            "weight_map": {name: file for file, names in files.items() for name in names},
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _header(tensors: Mapping[str, Layout]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, layout in tensors.items():
        entries[name] = {
            "dtype": _NAMES[layout.dtype],
            "shape": list(layout.shape),
            "data_offsets": [end, end + layout.size],
        }
        end += layout.size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin aligned
    return len(text).to_bytes(8, "little") + text
