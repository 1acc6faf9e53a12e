"""Where torch.distributed.checkpoint puts tensors: one safetensors file a process, and an index.

DCP's own file storage keeps its index as a pickle (``.metadata``) and every tensor as a pickle in
a zip. This one has the same sharding (DCP still plans who writes and reads what) and no pickle:
``rank-00000.safetensors`` … and ``index.json``. Bytes are hashed while they are written.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from marco.errors import CheckpointError
from marco.training.checkpoints.files import sync_folder, write_json
from marco.training.checkpoints.manifest import FileRecord
from marco.training.checkpoints.stored import DTYPE_NAMES, INDEX, StoredChunk

_WRITE_BYTES = 1 << 26


@dataclass(frozen=True)
class _WrittenChunk:
    chunk: StoredChunk
    record: FileRecord


class SafetensorsWriter(StorageWriter):
    """Writes this process's pieces into ``folder/rank-<rank>.safetensors``.

    After `torch.distributed.checkpoint.save`, ``records`` on process 0 holds size and sha256 of
    every process's file.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder = folder
        self.file = f"rank-{rank:05d}.safetensors"
        self.records: dict[str, FileRecord] = {}

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Part of DCP's protocol; a writer is used once, so there is nothing to forget."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Part of DCP's protocol."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Leave DCP's plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Leave DCP's plans as they are."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write this process's share. Raises `OSError` when the disk does not take it."""
        results: list[WriteResult] = []
        if plan.items:
            # Widest first: every tensor then starts at a multiple of its item size.
            items = sorted(plan.items, key=lambda item: -_dtype(item).itemsize)
            record = self._write_file(items, planner)
            for item in items:
                chunk = StoredChunk(self.file, _key(item))
                results.append(WriteResult(item.index, _size(item), _WrittenChunk(chunk, record)))
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future

    def _write_file(self, items: list[WriteItem], planner: SavePlanner) -> FileRecord:
        header: dict[str, Any] = {}
        end = 0
        for item in items:
            begin, end = end, end + _size(item)
            header[_key(item)] = {
                "dtype": DTYPE_NAMES[_dtype(item)],
                "shape": list(_chunk(item).sizes),
                "data_offsets": [begin, end],
            }
        encoded = json.dumps(header, separators=(",", ":")).encode()
        encoded += b" " * (-len(encoded) % 8)
        digest = hashlib.sha256()
        written = 0
        with (self.folder / self.file).open("wb") as stream:

            def put(data: bytes | memoryview) -> None:
                nonlocal written
                for start in range(0, len(data), _WRITE_BYTES):
                    piece = data[start : start + _WRITE_BYTES]
                    stream.write(piece)
                    digest.update(piece)
                    written += len(piece)

            put(len(encoded).to_bytes(8, "little"))
            put(encoded)
            for item in items:
                tensor = cast(torch.Tensor, planner.resolve_data(item)).detach()
                flat = tensor.cpu().contiguous().reshape(-1)
                if flat.dtype != _dtype(item) or flat.numel() != prod(_chunk(item).sizes):
                    raise CheckpointError(f"{item.index.fqn} changed while it was being written")
                if flat.numel():
                    put(flat.view(torch.uint8).numpy().data)
            stream.flush()
            os.fsync(stream.fileno())
        return FileRecord(written, digest.hexdigest())

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write the index (process 0 only): every tensor's dtype, shape, and where its pieces lie.

        Shape: ``{name: {dtype, shape, chunks: [{offsets, sizes, file, key}]}}``.
        """
        stored: dict[MetadataIndex, StoredChunk] = {}
        for result in (result for of_rank in results for result in of_rank):
            written = cast(_WrittenChunk, result.storage_data)
            stored[result.index] = written.chunk
            self.records[written.chunk.file] = written.record
        index: dict[str, Any] = {}
        for name, tensor in sorted(metadata.state_dict_metadata.items()):
            if not isinstance(tensor, TensorStorageMetadata):
                raise CheckpointError(f"{name} is not a tensor")
            chunks = []
            for chunk in tensor.chunks:
                where = stored[MetadataIndex(name, chunk.offsets)]
                sizes, offsets = list(chunk.sizes), list(chunk.offsets)
                chunks.append(
                    {"offsets": offsets, "sizes": sizes, "file": where.file, "key": where.key}
                )
            index[name] = {
                "dtype": DTYPE_NAMES[tensor.properties.dtype],
                "shape": list(tensor.size),
                "chunks": chunks,
            }
        write_json(self.folder / INDEX, index)
        sync_folder(self.folder)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Part of DCP's protocol: this storage is always handed over, never looked up."""
        return False


def _chunk(item: WriteItem) -> ChunkStorageMetadata:
    if item.tensor_data is None:
        raise CheckpointError(f"{item.index.fqn} is not a tensor")
    return item.tensor_data.chunk


def _dtype(item: WriteItem) -> torch.dtype:
    if item.tensor_data is None:
        raise CheckpointError(f"{item.index.fqn} is not a tensor")
    return item.tensor_data.properties.dtype


def _size(item: WriteItem) -> int:
    return prod(_chunk(item).sizes) * _dtype(item).itemsize


def _key(item: WriteItem) -> str:
    offsets = _chunk(item).offsets
    return f"{item.index.fqn}@{','.join(map(str, offsets))}" if any(offsets) else item.index.fqn
