"""In which type a product is computed: autocast's where it is on, else that of the values."""

from __future__ import annotations

import torch
from torch import Tensor


def compute_type(x: Tensor) -> torch.dtype:
    """The type of the products that `x` goes into."""
    kind = x.device.type
    if x.dtype != torch.float64 and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype
