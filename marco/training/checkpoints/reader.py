"""How torch.distributed.checkpoint reads back what `SafetensorsWriter` wrote."""

from __future__ import annotations

import os
from collections import defaultdict
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from marco.errors import CheckpointError
from marco.training.checkpoints.files import read_json
from marco.training.checkpoints.stored import DTYPES, INDEX, StoredChunk


class SafetensorsReader(StorageReader):
    """Reads what `SafetensorsWriter` wrote, each process only the ranges it needs.

    ``files`` are the names the manifest vouches for; the index may name no other.
    """

    def __init__(self, folder: Path, files: set[str]) -> None:
        self.folder = folder
        self.metadata = _read_index(folder / INDEX, files)

    def tensors(self, kind: str) -> dict[str, TensorStorageMetadata]:
        """Return dtype and global shape of the stored tensors named ``<kind>/<name>``, by name."""
        return {
            name.removeprefix(f"{kind}/"): cast(TensorStorageMetadata, tensor)
            for name, tensor in self.metadata.state_dict_metadata.items()
            if name.startswith(f"{kind}/")
        }

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Part of DCP's protocol."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the index as DCP's planner wants it."""
        return self.metadata

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        """Part of DCP's protocol."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Leave DCP's plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Leave DCP's plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy the planned ranges into the planner's tensors, in place."""
        by_file = defaultdict(list)
        for item in plan.items:
            stored = cast(StoredChunk, self.metadata.storage_data[item.storage_index])
            by_file[stored.file].append((stored.key, item))
        for name, items in by_file.items():
            try:
                with safe_open(self.folder / name, framework="pt") as stream:
                    for key, item in items:
                        if prod(item.lengths) == 0:
                            continue
                        ranges = tuple(
                            slice(start, start + length)
                            for start, length in zip(
                                item.storage_offsets, item.lengths, strict=True
                            )
                        )
                        source = stream.get_slice(key)[ranges] if ranges else stream.get_tensor(key)
                        target = planner.resolve_tensor(item).detach()
                        if target.shape != source.shape:
                            raise CheckpointError(
                                f"{name} holds {key} with the shape {list(source.shape)}, "
                                f"the index says {list(target.shape)}"
                            )
                        target.copy_(source)
                        planner.commit_tensor(item, target)
            except SafetensorError as error:
                raise CheckpointError(f"{self.folder / name} cannot be read: {error}") from error
        future: Future[None] = Future()
        future.set_result(None)
        return future

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Part of DCP's protocol: this storage is always handed over, never looked up."""
        return False


def _read_index(path: Path, files: set[str]) -> Metadata:
    tensors: dict[str, TensorStorageMetadata] = {}
    stored: dict[MetadataIndex, StoredChunk] = {}
    try:
        for name, entry in read_json(path).items():
            chunks = []
            for chunk in entry["chunks"]:
                if chunk["file"] not in files:
                    raise CheckpointError(
                        f"{path} names {chunk['file']!r}, which the manifest does not list"
                    )
                offsets = torch.Size(chunk["offsets"])
                chunks.append(ChunkStorageMetadata(offsets, torch.Size(chunk["sizes"])))
                stored[MetadataIndex(name, offsets)] = StoredChunk(chunk["file"], chunk["key"])
            if sum(prod(chunk.sizes) for chunk in chunks) != prod(entry["shape"]):
                raise CheckpointError(f"{path}: the pieces of {name} do not make a whole")
            properties = TensorProperties(dtype=DTYPES[entry["dtype"]])
            tensors[name] = TensorStorageMetadata(properties, torch.Size(entry["shape"]), chunks)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be understood: {error}") from error
    return Metadata(state_dict_metadata=dict(tensors), storage_data=stored)
