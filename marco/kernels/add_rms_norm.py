"""The residual sum and the RMSNorm of it in one pass: what stands between two blocks of a decoder.

RMSNorm is arXiv:1910.07467; the sum before it is that of a pre-norm transformer (arXiv:2002.04745).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from marco.kernels._derivatives import require_no_tangents
from marco.kernels._float_types import require_float_types
from marco.kernels._rms_norm_kernels import launch_backward, launch_forward
from marco.kernels._shapes import require_norm_shapes
from marco.kernels.rms_norm import rms_norm_naive


def add_rms_norm_naive(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """The plain twin: two passes, and the same rounding."""
    summed = residual + x
    return rms_norm_naive(summed, weight, eps), summed


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`summed = residual + x` and its RMSNorm: returns `(y, summed)`.

    x and residual are `[..., hidden]`, weight is `[hidden]`; fp32, bf16 or fp16, not necessarily
    the same. `summed` is of the promoted type of x and residual, y of that and the weight's. Each
    input is read once and each output written once. Kept for the backward: `summed` (an output
    anyway) and weight; the backward takes the gradients of both outputs in one pass.

    Raises ValueError where shapes or devices do not fit, TypeError for other types and
    NotImplementedError in forward-mode AD.
    """
    require_norm_shapes("add_rms_norm", x, weight, residual)
    require_float_types("add_rms_norm", x=x, weight=weight, residual=residual)
    require_no_tangents("add_rms_norm", x=x, weight=weight, residual=residual)
    y, summed = _add_rms_norm(x, residual, weight, eps)
    return y, summed


def _empty_outputs(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    summed = x.new_empty(x.shape, dtype=torch.promote_types(x.dtype, residual.dtype))
    return x.new_empty(x.shape, dtype=torch.promote_types(summed.dtype, weight.dtype)), summed


@torch.library.custom_op("marco::add_rms_norm", mutates_args=())
def _add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    if x.numel() == 0:
        return _empty_outputs(x, residual, weight, eps)
    return launch_forward("add_rms_norm", x, residual, weight, eps)


@torch.library.custom_op("marco::add_rms_norm_backward", mutates_args=())
def _add_rms_norm_backward(
    dy: Tensor, dsummed: Tensor | None, summed: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    if summed.numel() == 0:
        return summed.new_empty(summed.shape), weight.new_zeros(weight.shape)
    return launch_backward("add_rms_norm", dy, dsummed, summed, weight, eps)


@_add_rms_norm_backward.register_fake
def _add_rms_norm_backward_fake(
    dy: Tensor, dsummed: Tensor | None, summed: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    return summed.new_empty(summed.shape), weight.new_empty(weight.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, residual, weight, ctx.eps = inputs
    ctx.types = x.dtype, residual.dtype
    # After a model's last sum nobody reads `summed`: no zeros are made, nor read, for its gradient.
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1], weight)


def _backward(
    ctx: Any, dy: Tensor | None, dsummed: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    d, dweight = dsummed, None
    if dy is not None:
        d, dweight = _add_rms_norm_backward(dy, dsummed, *ctx.saved_tensors, ctx.eps)
    x_type, residual_type = ctx.types
    dx, dresidual = (None if d is None else d.to(dtype) for dtype in (x_type, residual_type))
    return dx, dresidual, dweight, None


_add_rms_norm.register_fake(_empty_outputs)
_add_rms_norm.register_autograd(_backward, setup_context=_setup_context)
