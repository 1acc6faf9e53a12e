"""RMSNorm, alone or after adding a residual, with few passes over the activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from marco.kernels._shapes import require_norm_shapes
from marco.kernels.torch_path import native
from marco.kernels.torch_path.types import compute_type


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise the last dimension: [..., hidden] in the type of the products that follow.

    Raises ValueError where the weight is not [hidden].
    """
    require_norm_shapes("rms_norm", x, weight)
    return _Norm.apply(x, None, weight, float(eps), compute_type(x))[0]  # type: ignore[no-any-return, no-untyped-call]


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return rms_norm(residual + x) and the sum, which keeps the residual's type.

    Raises ValueError where x and residual differ in shape or the weight is not [hidden].
    """
    require_norm_shapes("add_rms_norm", x, weight, residual)
    return _Norm.apply(x, residual, weight, float(eps), compute_type(x))  # type: ignore[no-any-return, no-untyped-call]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        kind = x.dtype
        ctx.kinds = (kind, None if residual is None else residual.dtype)
        ctx.native = (
            native.wanted()
            and native.fits(x, residual, weight)
            and dtype in native.TYPES
            and (residual is None or residual.dtype == torch.promote_types(kind, residual.dtype))
        )
        if ctx.native:
            summed, scale, y = _native_forward(x, residual, weight, eps, dtype)
            ctx.save_for_backward(summed, weight, scale)
            return y, summed
        summed = x if residual is None else torch.add(residual, x)
        wide = summed.to(torch.promote_types(summed.dtype, torch.float32))
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = norm.square().div_(wide.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(summed, weight, scale)
        return torch.mul(wide, scale).mul_(weight).to(dtype), summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, d_summed: Tensor) -> tuple[Tensor | None, ...]:
        summed, weight, scale = ctx.saved_tensors
        kind, residual_kind = ctx.kinds
        if ctx.native:
            above = None if residual_kind is None else d_summed
            return _native_backward(dy, above, summed, weight, scale, kind)
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


def _native_forward(
    x: Tensor, residual: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    hidden = x.shape[-1]
    summed = x
    if residual is not None:
        summed = torch.empty_like(residual)
    y, scale = torch.empty_like(x, dtype=dtype), x.new_empty(*x.shape[:-1], 1, dtype=torch.float32)
    kinds = _kinds(x, summed, y, weight)
    rows = x.numel() // hidden
    native.call("norm", x, residual, weight, summed, y, scale, kinds, rows, hidden, eps)
    return summed, scale, y


def _native_backward(
    dy: Tensor,
    d_summed: Tensor | None,
    summed: Tensor,
    weight: Tensor,
    scale: Tensor,
    kind: torch.dtype,
) -> tuple[Tensor | None, ...]:
    """`d_summed` is given where there was a residual, whose gradient is then made too."""
    hidden = summed.shape[-1]
    dy = dy.contiguous()
    above = None if d_summed is None else d_summed.contiguous()
    dx = torch.empty_like(summed, dtype=kind)
    d = None if d_summed is None or kind == summed.dtype else torch.empty_like(summed)
    shares = summed.new_zeros(torch.get_num_threads(), hidden, dtype=torch.float32)
    kinds = _kinds(dx, summed, dy, weight)
    rows = summed.numel() // hidden
    native.call(
        "norm_backward", dy, above, summed, weight, scale, dx, d, shares, kinds, rows, hidden
    )
    residual = None if d_summed is None else dx if d is None else d
    return dx, residual, shares.sum(0).to(weight.dtype), None, None


def _kinds(*tensors: Tensor) -> int:
    return sum(native.is_bf16(x) << place for place, x in enumerate(tensors))
