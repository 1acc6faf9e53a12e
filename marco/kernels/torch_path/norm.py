"""RMSNorm, alone or after adding a residual, with few passes over the activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from marco.kernels.torch_path.types import compute_type


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise the last dimension: [..., hidden] in the type of the products that follow."""
    return _Norm.apply(x, None, weight, eps, compute_type(x))[0]  # type: ignore[no-any-return, no-untyped-call]


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return rms_norm(residual + x) and the sum, which keeps the residual's type."""
    return _Norm.apply(x, residual, weight, eps, compute_type(x))  # type: ignore[no-any-return, no-untyped-call]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        kind = x.dtype
        summed = x if residual is None else torch.add(residual, x)
        wide = summed.to(torch.promote_types(summed.dtype, torch.float32))
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = norm.square().div_(wide.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(summed, weight, scale)
        ctx.kinds = (kind, None if residual is None else residual.dtype)
        return torch.mul(wide, scale).mul_(weight).to(dtype), summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, d_summed: Tensor) -> tuple[Tensor | None, ...]:
        summed, weight, scale = ctx.saved_tensors
        kind, residual_kind = ctx.kinds
        hat = torch.mul(summed, scale)
        hidden = hat.shape[-1]
        product = torch.mul(dy, hat)
        rows = product.reshape(-1, hidden)
        d_weight = rows.sum(0).to(weight.dtype)
        inner = (rows @ weight.to(rows.dtype)).div_(hidden).view(scale.shape)
        # As exact as `inner`, or what should cancel would not.
        d = torch.mul(dy, weight.to(hat.dtype))
        d.addcmul_(hat, inner, value=-1).mul_(scale)
        if residual_kind is None:
            return d.to(kind), None, d_weight, None, None
        d.add_(d_summed)
        return d.to(kind), d.to(residual_kind), d_weight, None, None
