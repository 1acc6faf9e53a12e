"""silu(gate) · up, recomputed in the backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def swiglu(both: Tensor) -> Tensor:
    """Return silu(gate) · up: [..., n] of [..., 2n], where the gate comes first."""
    return _SwiGLU.apply(both)  # type: ignore[no-any-return, no-untyped-call]


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        d_both = torch.empty_like(both)
        d_gate, d_up = d_both.chunk(2, dim=-1)
        torch.mul(functional.silu(gate), dy, out=d_up)
        torch.ops.aten.silu_backward.grad_input(torch.mul(dy, up), gate, grad_input=d_gate)
        return d_both
