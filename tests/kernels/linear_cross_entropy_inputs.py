"""What the tests of the linear cross-entropy on the torch path are given."""

from __future__ import annotations

from typing import Any

import torch
from kernels.truth import assert_as_good_as_torch
from torch import Tensor

from marco.kernels.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_naive,
)

EVERYTHING: dict[str, Any] = {"z_loss": 1e-2, "label_smoothing": 0.1, "limit": 200}
Inputs = tuple[Tensor, Tensor, Tensor]


def make(
    tokens: int,
    rows: int,
    width: int,
    dtype: torch.dtype = torch.float32,
    limit: int | None = None,
    ignored: int = 0,
) -> Inputs:
    """Of every `ignored` tokens the first is ignored."""
    generator = torch.Generator().manual_seed(tokens + rows + width)
    hidden = torch.randn(tokens, width, generator=generator).to(dtype)
    weight = (torch.randn(rows, width, generator=generator) / width**0.5).to(dtype)
    targets = torch.randint(limit or rows, (tokens,), generator=generator)
    if ignored:
        targets[::ignored] = -100
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def compare(inputs: Inputs, **options: Any) -> None:
    """Incoming gradients are random, so they differ by token."""
    plain = {name: value for name, value in options.items() if name not in ("upstream", "backend")}
    assert_as_good_as_torch(
        lambda *x: linear_cross_entropy(*x, **options),
        lambda *x: linear_cross_entropy_naive(*x, **plain),
        inputs,
    )
