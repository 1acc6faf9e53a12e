"""SwiGLU: `silu(gate) * up`, the gate of a feed-forward block (arXiv:2002.05202)."""

from __future__ import annotations

from typing import Any

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels import spaces
from marco.kernels._derivatives import require_no_tangents
from marco.kernels._float_types import require_float_types
from marco.kernels._shapes import require_one_device
from marco.kernels.launches import launch
from marco.kernels.spaces import Options
from marco.kernels.tuning import choose


def swiglu_naive(gate: Tensor, up: Tensor) -> Tensor:
    """The plain twin."""
    return torch.nn.functional.silu(gate) * up


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """`silu(gate) * up`, element by element; the result is contiguous.

    gate and up are `[..., intermediate]` of one shape and one type: fp32, bf16 or fp16. Rows may
    lie apart (halves of one fused product `[tokens, 2 * intermediate]`): they are read in place as
    long as each is contiguous itself. gate and up are kept for the backward, nothing else; silu is
    computed again there, in fp32, and rounded once, after the product.

    Raises ValueError where shapes or devices differ, TypeError for other, or different, types and
    NotImplementedError in forward-mode AD.
    """
    require_one_device("swiglu", gate=gate, up=up)
    require_float_types("swiglu", gate=gate, up=up)
    require_no_tangents("swiglu", gate=gate, up=up)
    if gate.shape != up.shape or gate.ndim == 0:
        raise ValueError(
            "swiglu: gate and up must be [..., intermediate] of one shape; "
            f"they are {list(gate.shape)} and {list(up.shape)}."
        )
    if gate.dtype != up.dtype:
        raise TypeError(f"swiglu: gate is {gate.dtype} and up is {up.dtype}; they must agree.")
    y: Tensor = _swiglu(gate, up)
    return y


@triton.jit  # type: ignore[untyped-decorator]
def swiglu_fwd_kernel(
    gate_ptr: tl.tensor,
    up_ptr: tl.tensor,
    y_ptr: tl.tensor,
    gate_stride: tl.tensor,
    up_stride: tl.tensor,
    columns: tl.tensor,
    block: tl.constexpr,
) -> None:
    """A program is a block of one row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    m_x = column < columns
    b_gate = tl.load(gate_ptr + row * gate_stride + column, mask=m_x, other=0.0).to(tl.float32)
    b_up = tl.load(up_ptr + row * up_stride + column, mask=m_x, other=0.0).to(tl.float32)
    b_y = b_gate / (1.0 + tl.exp(-b_gate)) * b_up
    tl.store(y_ptr + row * columns + column, b_y.to(y_ptr.dtype.element_ty), mask=m_x)


@triton.jit  # type: ignore[untyped-decorator]
def swiglu_bwd_kernel(
    dy_ptr: tl.tensor,
    gate_ptr: tl.tensor,
    up_ptr: tl.tensor,
    dgate_ptr: tl.tensor,
    dup_ptr: tl.tensor,
    dy_stride: tl.tensor,
    gate_stride: tl.tensor,
    up_stride: tl.tensor,
    columns: tl.tensor,
    block: tl.constexpr,
) -> None:
    """Both gradients of a block of one row; silu is computed again."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    m_x = column < columns
    b_dy = tl.load(dy_ptr + row * dy_stride + column, mask=m_x, other=0.0).to(tl.float32)
    b_gate = tl.load(gate_ptr + row * gate_stride + column, mask=m_x, other=0.0).to(tl.float32)
    b_up = tl.load(up_ptr + row * up_stride + column, mask=m_x, other=0.0).to(tl.float32)
    b_sigmoid = 1.0 / (1.0 + tl.exp(-b_gate))
    b_dgate = b_dy * b_up * b_sigmoid * (1.0 + b_gate * (1.0 - b_sigmoid))
    b_dup = b_dy * b_gate * b_sigmoid
    at = row * columns + column
    tl.store(dgate_ptr + at, b_dgate.to(dgate_ptr.dtype.element_ty), mask=m_x)
    tl.store(dup_ptr + at, b_dup.to(dup_ptr.dtype.element_ty), mask=m_x)


def _rows(x: Tensor) -> Tensor:
    """x as `[rows, columns]` with contiguous rows: a view wherever strides allow it."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()


@torch.library.custom_op("marco::swiglu", mutates_args=())
def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    y = gate.new_empty(gate.shape)
    if gate.numel() == 0:
        return y
    gate, up = _rows(gate), _rows(up)
    rows, columns = gate.shape

    def run(options: Options) -> None:
        launch(
            "swiglu_fwd_kernel",
            swiglu_fwd_kernel[(rows, triton.cdiv(columns, options["block"]))],
            gate,
            up,
            y,
            gate.stride(0),
            up.stride(0),
            columns,
            **options,
        )

    run(choose("swiglu_fwd", spaces.swiglu(gate), gate, (rows, columns), run))
    return y


@_swiglu.register_fake
def _swiglu_fake(gate: Tensor, up: Tensor) -> Tensor:
    return gate.new_empty(gate.shape)


@torch.library.custom_op("marco::swiglu_backward", mutates_args=())
def _swiglu_backward(dy: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    dgate, dup = gate.new_empty(gate.shape), up.new_empty(up.shape)
    if gate.numel() == 0:
        return dgate, dup
    dy, gate, up = _rows(dy), _rows(gate), _rows(up)
    rows, columns = gate.shape

    def run(options: Options) -> None:
        launch(
            "swiglu_bwd_kernel",
            swiglu_bwd_kernel[(rows, triton.cdiv(columns, options["block"]))],
            dy,
            gate,
            up,
            dgate,
            dup,
            dy.stride(0),
            gate.stride(0),
            up.stride(0),
            columns,
            **options,
        )

    run(choose("swiglu_bwd", spaces.swiglu(gate), gate, (rows, columns), run))
    return dgate, dup


@_swiglu_backward.register_fake
def _swiglu_backward_fake(dy: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), up.new_empty(up.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
    dgate, dup = _swiglu_backward(dy, *ctx.saved_tensors)
    return dgate, dup


_swiglu.register_autograd(_backward, setup_context=_setup_context)
