"""Rotary position embedding of queries and keys in one launch (RoFormer, arXiv:2104.09864)."""

from __future__ import annotations

from typing import Any

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels import spaces
from marco.kernels._derivatives import require_no_tangents
from marco.kernels._float_types import require_float_types
from marco.kernels._shapes import require_rope_shapes
from marco.kernels.launches import launch
from marco.kernels.spaces import Options
from marco.kernels.tuning import choose


def rope_naive(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """The plain twin: transformers' `apply_rotary_pos_emb`, back in the types of q and k."""
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)

    def rotated(x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)

    return rotated(q), rotated(k)


def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys turned by their positions' angles.

    q is `[batch, length, heads, head_dim]`, k `[batch, length, kv_heads, head_dim]`, with any
    strides: transposed views and slices of one fused product are read where they lie. cos and sin
    are `[batch or 1, length, head_dim]` as transformers' rotary embedding returns them: two equal
    halves, of which the first is read. All are fp32, bf16 or fp16. The results are contiguous and
    have the types of q and k. Only cos and sin are kept for the backward, which is the rotation by
    the opposite angle; they get no gradient themselves.

    Raises ValueError where shapes or devices do not fit, TypeError for other types and
    NotImplementedError in forward-mode AD.
    """
    require_float_types("rope", q=q, k=k, cos=cos, sin=sin)
    require_no_tangents("rope", q=q, k=k, cos=cos, sin=sin)
    require_rope_shapes("rope", q, k, cos, sin)
    q_rotated, k_rotated = _rope(q, k, cos, sin, False)
    return q_rotated, k_rotated


@triton.jit  # type: ignore[untyped-decorator]
def _rotate_heads(
    x_ptr: tl.tensor,
    y_ptr: tl.tensor,
    stride_head: tl.tensor,
    stride_dim: tl.tensor,
    b_cos: tl.tensor,
    b_sin: tl.tensor,
    heads: tl.constexpr,
    half: tl.constexpr,
    block_heads: tl.constexpr,
    block_half: tl.constexpr,
) -> None:
    # 64 bits from the start: the heads of a transposed view lie length × head_dim apart.
    head = tl.arange(0, block_heads).to(tl.int64)[:, None]
    dim = tl.arange(0, block_half).to(tl.int64)[None, :]
    m_x = (head < heads) & (dim < half)
    first_ptr = x_ptr + head * stride_head + dim * stride_dim
    second_ptr = x_ptr + head * stride_head + (dim + half) * stride_dim
    b_first = tl.load(first_ptr, mask=m_x, other=0.0).to(tl.float32)
    b_second = tl.load(second_ptr, mask=m_x, other=0.0).to(tl.float32)
    y_type = y_ptr.dtype.element_ty
    y_ptr += head * (2 * half) + dim
    tl.store(y_ptr, (b_first * b_cos - b_second * b_sin).to(y_type), mask=m_x)
    tl.store(y_ptr + half, (b_second * b_cos + b_first * b_sin).to(y_type), mask=m_x)


@triton.jit  # type: ignore[untyped-decorator]
def rope_kernel(
    q_ptr: tl.tensor,
    k_ptr: tl.tensor,
    cos_ptr: tl.tensor,
    sin_ptr: tl.tensor,
    q_out_ptr: tl.tensor,
    k_out_ptr: tl.tensor,
    length: tl.tensor,
    q_stride_batch: tl.tensor,
    q_stride_length: tl.tensor,
    q_stride_head: tl.tensor,
    q_stride_dim: tl.tensor,
    k_stride_batch: tl.tensor,
    k_stride_length: tl.tensor,
    k_stride_head: tl.tensor,
    k_stride_dim: tl.tensor,
    cos_stride_batch: tl.tensor,
    sin_stride_batch: tl.tensor,
    inverse: tl.constexpr,
    heads: tl.constexpr,
    kv_heads: tl.constexpr,
    half: tl.constexpr,
    block_heads: tl.constexpr,
    block_kv_heads: tl.constexpr,
    block_half: tl.constexpr,
) -> None:
    """A program is a token with all its heads, so that its angles are read once."""
    token = tl.program_id(0).to(tl.int64)
    batch = token // length
    position = token % length
    dim = tl.arange(0, block_half)[None, :]
    at = position * (2 * half) + dim
    m_dim = dim < half
    b_cos = tl.load(cos_ptr + batch * cos_stride_batch + at, mask=m_dim, other=0.0).to(tl.float32)
    b_sin = tl.load(sin_ptr + batch * sin_stride_batch + at, mask=m_dim, other=0.0).to(tl.float32)
    if inverse:
        b_sin = -b_sin
    _rotate_heads(
        q_ptr + batch * q_stride_batch + position * q_stride_length,
        q_out_ptr + token * (heads * 2 * half),
        q_stride_head,
        q_stride_dim,
        b_cos,
        b_sin,
        heads,
        half,
        block_heads,
        block_half,
    )
    _rotate_heads(
        k_ptr + batch * k_stride_batch + position * k_stride_length,
        k_out_ptr + token * (kv_heads * 2 * half),
        k_stride_head,
        k_stride_dim,
        b_cos,
        b_sin,
        kv_heads,
        half,
        block_kv_heads,
        block_half,
    )


@torch.library.custom_op("marco::rope", mutates_args=())
def _rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    q_out, k_out = q.new_empty(q.shape), k.new_empty(k.shape)
    if q.numel() == 0:
        return q_out, k_out
    batch, length, heads, head_dim = q.shape
    cos, sin = cos.contiguous(), sin.contiguous()
    block_heads = triton.next_power_of_2(heads)
    block_half = triton.next_power_of_2(head_dim // 2)
    name = "rope_bwd_kernel" if inverse else "rope_fwd_kernel"

    def run(options: Options) -> None:
        launch(
            name,
            rope_kernel[(batch * length,)],
            q,
            k,
            cos,
            sin,
            q_out,
            k_out,
            length,
            *q.stride(),
            *k.stride(),
            0 if cos.shape[0] == 1 else cos.stride(0),
            0 if sin.shape[0] == 1 else sin.stride(0),
            inverse=inverse,
            heads=heads,
            kv_heads=k.shape[2],
            half=head_dim // 2,
            block_heads=block_heads,
            block_kv_heads=triton.next_power_of_2(k.shape[2]),
            block_half=block_half,
            **options,
        )

    sizes = (batch * length, heads, k.shape[2], head_dim)
    run(choose("rope", spaces.rope(block_heads, block_half), q, sizes, run))
    return q_out, k_out


@_rope.register_fake
def _rope_fake(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, inverse: bool
) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, cos, sin, inverse = inputs
    ctx.inverse = inverse
    ctx.save_for_backward(cos, sin)


def _backward(ctx: Any, dq: Tensor, dk: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    cos, sin = ctx.saved_tensors
    dq_out, dk_out = _rope(dq, dk, cos, sin, not ctx.inverse)
    return dq_out, dk_out, None, None, None


_rope.register_autograd(_backward, setup_context=_setup_context)
