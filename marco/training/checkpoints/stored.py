"""What the writer and the reader of tensors share: the index's name, types, places."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from marco.errors import CheckpointError

INDEX = "index.json"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class StoredChunk:
    """Where one piece of a tensor is: a file of the checkpoint's ``state/`` and its key there."""

    file: str
    key: str


def check_dtype(name: str, tensor: torch.Tensor) -> None:
    """Raise `CheckpointError` for a tensor that a safetensors file has no type for."""
    if tensor.dtype not in DTYPE_NAMES:
        raise CheckpointError(f"{name} has the type {tensor.dtype}, which a checkpoint cannot hold")
