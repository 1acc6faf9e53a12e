"""silu(gate) · up, recomputed in the backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from marco.kernels.torch_path import native


def swiglu(both: Tensor) -> Tensor:
    """Return silu(gate) · up: [..., n] of [..., 2n], where the gate comes first.

    Raises ValueError where the last dimension is odd.
    """
    if both.ndim == 0 or both.shape[-1] % 2:
        raise ValueError(f"swiglu: {list(both.shape)} should be [..., 2n]: gate, then up.")
    return _SwiGLU.apply(both)  # type: ignore[no-any-return, no-untyped-call]


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=-1)
        ctx.native = native.wanted() and native.fits(both)
        if ctx.native:
            y = both.new_empty(gate.shape)
            native.call("swiglu", both, native.is_bf16(both), y, *_sizes(y))
            return y
        return functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        if torch.compiler.is_compiling():  # which writes into no views, and needs none
            d_gate = torch.ops.aten.silu_backward(dy * up, gate)
            return torch.cat((d_gate, functional.silu(gate) * dy), -1)
        d_both = torch.empty_like(both)
        if ctx.native:
            dy = dy.contiguous()
            native.call("swiglu_backward", dy, both, native.is_bf16(both), d_both, *_sizes(dy))
            return d_both
        d_gate, d_up = d_both.chunk(2, dim=-1)
        torch.mul(functional.silu(gate), dy, out=d_up)
        torch.ops.aten.silu_backward.grad_input(torch.mul(dy, up), gate, grad_input=d_gate)
        return d_both


def _sizes(y: Tensor) -> tuple[int, int]:
    """Tokens, width."""
    return y.numel() // y.shape[-1], y.shape[-1]
