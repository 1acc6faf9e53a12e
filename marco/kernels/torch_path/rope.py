"""Rotary embedding of queries and keys (arXiv 2104.09864)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from marco.kernels._shapes import require_rope_shapes
from marco.kernels.torch_path import native


def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate q [batch, length, heads, width] and k [batch, length, kv heads, width].

    cos and sin are [batch or 1, length, width], two equal halves, as transformers makes them.
    Raises ValueError for other shapes and for an odd width.
    """
    require_rope_shapes("rope", q, k, cos, sin)
    if cos.shape != sin.shape:
        rows = q.shape[0]
        cos, sin = cos.expand(rows, -1, -1), sin.expand(rows, -1, -1)
    half = cos.shape[-1] // 2
    rotate, dtype = _rotate, q.dtype
    if native.wanted() and native.fits(q, k, strided=True):
        rotate, dtype = _rotate_natively, torch.float32
    cos, sin = (x[..., None, :half].to(dtype).contiguous() for x in (cos, sin))
    return _Rope.apply(q, k, cos, sin, rotate)  # type: ignore[no-any-return, no-untyped-call]


class _Rope(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, rotate: Callable[..., Tensor]
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cos, sin)
        ctx.rotate = rotate
        return rotate(q, cos, sin, 1.0), rotate(k, cos, sin, 1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dq: Tensor, dk: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return ctx.rotate(dq, cos, sin, -1.0), ctx.rotate(dk, cos, sin, -1.0), None, None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    if torch.compiler.is_compiling():  # which writes into no views, and needs none
        return torch.cat((first * cos - second * sin * sign, second * cos + first * sin * sign), -1)
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    one, two = y.chunk(2, dim=-1)
    torch.mul(first, cos, out=one).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=two).addcmul_(first, sin, value=sign)
    return y


def _rotate_natively(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    """The same with fp32 angles and one rounding, over the data once."""
    batch, length, heads, width = x.shape
    if x.stride() != (length * x.stride(1), x.stride(1), width, 1):
        x = x.contiguous()
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    rows = cos.numel() // cos.shape[-1]
    sizes = (batch * length, heads, width, rows, sign)
    native.call("rope", x, native.is_bf16(x), x.stride(1), y, cos, sin, *sizes)
    return y
