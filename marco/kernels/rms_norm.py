"""RMSNorm: rows divided by their root mean square, times a weight (arXiv:1910.07467)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from marco.kernels._derivatives import require_no_tangents
from marco.kernels._float_types import require_float_types
from marco.kernels._rms_norm_kernels import launch_backward, launch_forward
from marco.kernels._shapes import require_norm_shapes


def rms_norm_naive(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The plain twin, rounded where transformers' Qwen2RMSNorm rounds; float64 stays float64."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return weight * normed.to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`weight * x / sqrt(mean(x²) + eps)` over the last dimension.

    x is `[..., hidden]`: tokens, or the heads of a query or key `[batch, length, heads, head_dim]`;
    weight is `[hidden]`. Both are fp32, bf16 or fp16, not necessarily the same; the result is of
    their promoted type. Kept for the backward: x and weight, nothing else. The backward reads x and
    the incoming gradient once for both gradients.

    Raises ValueError where shapes or devices do not fit, TypeError for other types and
    NotImplementedError in forward-mode AD.
    """
    require_norm_shapes("rms_norm", x, weight)
    require_float_types("rms_norm", x=x, weight=weight)
    require_no_tangents("rms_norm", x=x, weight=weight)
    y: Tensor = _rms_norm(x, weight, eps)
    return y


def _empty_output(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape, dtype=torch.promote_types(x.dtype, weight.dtype))


@torch.library.custom_op("marco::rms_norm", mutates_args=())
def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    if x.numel() == 0:
        return _empty_output(x, weight, eps)
    return launch_forward("rms_norm", x, None, weight, eps)[0]


@torch.library.custom_op("marco::rms_norm_backward", mutates_args=())
def _rms_norm_backward(dy: Tensor, x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    if x.numel() == 0:
        return x.new_empty(x.shape), weight.new_zeros(weight.shape)
    return launch_backward("rms_norm", dy, None, x, weight, eps)


@_rms_norm_backward.register_fake
def _rms_norm_backward_fake(
    dy: Tensor, x: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
    dx, dweight = _rms_norm_backward(dy, *ctx.saved_tensors, ctx.eps)
    return dx, dweight, None


_rms_norm.register_fake(_empty_output)
_rms_norm.register_autograd(_backward, setup_context=_setup_context)
