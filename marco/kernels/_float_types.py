"""Which types the elementwise kernels take: their arithmetic is in fp32, so float64 would lose."""

from __future__ import annotations

import torch
from torch import Tensor

FLOAT_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def require_float_types(op: str, **tensors: Tensor) -> None:
    """Raise TypeError naming the first tensor that is not fp32, bf16 or fp16."""
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOAT_TYPES:
            raise TypeError(
                f"{op}: {name} is {tensor.dtype}; the kernel takes float32, bfloat16 or float16 "
                f"({op}_naive takes any float type)."
            )
