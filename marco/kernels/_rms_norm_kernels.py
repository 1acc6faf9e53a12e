"""The Triton kernels of RMSNorm, with or without the residual sum before it, and their launches."""

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels import spaces
from marco.kernels.device import device_of
from marco.kernels.launches import launch
from marco.kernels.spaces import Options
from marco.kernels.tuning import choose

#: Programs where there is no GPU, under Triton's interpreter: a few, so that loops are exercised.
PROGRAMS_INTERPRETED = 4


@triton.jit  # type: ignore[untyped-decorator]
def rms_norm_fwd_kernel(
    x_ptr: tl.tensor,
    residual_ptr: tl.tensor,
    weight_ptr: tl.tensor,
    y_ptr: tl.tensor,
    summed_ptr: tl.tensor,
    rows: tl.tensor,
    eps: tl.tensor,
    hidden: tl.constexpr,
    has_residual: tl.constexpr,
    block_rows: tl.constexpr,
    block_hidden: tl.constexpr,
    stages: tl.constexpr,
) -> None:
    """A program takes every so-manieth block of whole rows, and the weight once."""
    column = tl.arange(0, block_hidden)
    m_column = column < hidden
    summed_type = summed_ptr.dtype.element_ty
    b_weight = tl.load(weight_ptr + column, mask=m_column, other=0.0).to(tl.float32)
    blocks = tl.cdiv(rows, block_rows)
    for block in tl.range(tl.program_id(0), blocks, tl.num_programs(0), num_stages=stages):
        row = block * block_rows + tl.arange(0, block_rows)
        m_x = (row < rows)[:, None] & m_column[None, :]
        at = row.to(tl.int64)[:, None] * hidden + column[None, :]
        b_x = tl.load(x_ptr + at, mask=m_x, other=0.0).to(tl.float32)
        if has_residual:
            b_residual = tl.load(residual_ptr + at, mask=m_x, other=0.0).to(tl.float32)
            b_summed = (b_residual + b_x).to(summed_type)
            tl.store(summed_ptr + at, b_summed, mask=m_x)
            # The norm is that of the sum as it is kept, rounding and all.
            b_x = b_summed.to(tl.float32)
        b_rstd = tl.rsqrt(tl.sum(b_x * b_x, axis=1) / hidden + tl.cast(eps, tl.float32))
        # Rounded before the weight, as transformers does: a model's numbers stay the same.
        b_normed = (b_x * b_rstd[:, None]).to(summed_type).to(tl.float32)
        b_y = (b_normed * b_weight[None, :]).to(y_ptr.dtype.element_ty)
        tl.store(y_ptr + at, b_y, mask=m_x)


@triton.jit  # type: ignore[untyped-decorator]
def rms_norm_bwd_kernel(
    dy_ptr: tl.tensor,
    dsummed_ptr: tl.tensor,
    x_ptr: tl.tensor,
    weight_ptr: tl.tensor,
    dx_ptr: tl.tensor,
    partial_ptr: tl.tensor,
    rows: tl.tensor,
    eps: tl.tensor,
    hidden: tl.constexpr,
    has_dsummed: tl.constexpr,
    block_rows: tl.constexpr,
    block_hidden: tl.constexpr,
    stages: tl.constexpr,
) -> None:
    """A program takes every so-manieth block of rows; it sums dweight over them in registers.

    The row is there in any case: its root mean square is found again, which costs no memory.
    """
    column = tl.arange(0, block_hidden)
    m_column = column < hidden
    b_weight = tl.load(weight_ptr + column, mask=m_column, other=0.0).to(tl.float32)
    b_dweight = tl.zeros((block_rows, block_hidden), dtype=tl.float32)
    blocks = tl.cdiv(rows, block_rows)
    for block in tl.range(tl.program_id(0), blocks, tl.num_programs(0), num_stages=stages):
        row = block * block_rows + tl.arange(0, block_rows)
        m_x = (row < rows)[:, None] & m_column[None, :]
        at = row.to(tl.int64)[:, None] * hidden + column[None, :]
        b_dy = tl.load(dy_ptr + at, mask=m_x, other=0.0).to(tl.float32)
        b_x = tl.load(x_ptr + at, mask=m_x, other=0.0).to(tl.float32)
        b_rstd = tl.rsqrt(tl.sum(b_x * b_x, axis=1) / hidden + tl.cast(eps, tl.float32))[:, None]
        b_normed = b_x * b_rstd
        b_dweight += b_dy * b_normed
        b_dnormed = b_dy * b_weight[None, :]
        b_along = tl.sum(b_dnormed * b_normed, axis=1) / hidden
        b_dx = (b_dnormed - b_normed * b_along[:, None]) * b_rstd
        if has_dsummed:
            b_dx += tl.load(dsummed_ptr + at, mask=m_x, other=0.0).to(tl.float32)
        tl.store(dx_ptr + at, b_dx.to(dx_ptr.dtype.element_ty), mask=m_x)
    at_partial = tl.program_id(0).to(tl.int64) * hidden + column
    tl.store(partial_ptr + at_partial, tl.sum(b_dweight, axis=0), mask=m_column)


def programs(options: Options, x: Tensor, rows: int) -> int:
    """Of a launch: so many a multiprocessor, each with at least a block."""
    most = PROGRAMS_INTERPRETED
    if not x.is_cpu:
        most = options["programs"] * device_of(x).processors
    return min(most, -(-rows // options["block_rows"]))


def launch_forward(
    op: str, x: Tensor, residual: Tensor | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Normed rows, and the summed rows (x itself without a residual); x is not empty."""
    x, weight = x.contiguous(), weight.contiguous()
    summed = x
    if residual is not None:
        residual = residual.contiguous()
        summed = x.new_empty(x.shape, dtype=torch.promote_types(x.dtype, residual.dtype))
    y = x.new_empty(x.shape, dtype=torch.promote_types(summed.dtype, weight.dtype))
    hidden = x.shape[-1]
    rows = x.numel() // hidden

    def run(options: Options) -> None:
        launch(
            f"{op}_fwd_kernel",
            rms_norm_fwd_kernel[(programs(options, x, rows),)],
            x,
            x if residual is None else residual,
            weight,
            y,
            summed,
            rows,
            eps,
            hidden=hidden,
            has_residual=residual is not None,
            **_without_programs(options),
        )

    run(choose(f"{op}_fwd", spaces.norm_forward(x, residual), x, (rows, hidden), run))
    return y, summed


def launch_backward(
    op: str, dy: Tensor, dsummed: Tensor | None, x: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Gradients of x (plus `dsummed`) and of the weight, in one pass over the rows; x not empty."""
    dy, x, weight = dy.contiguous(), x.contiguous(), weight.contiguous()
    dsummed = None if dsummed is None else dsummed.contiguous()
    hidden = x.shape[-1]
    rows = x.numel() // hidden
    dx = x.new_empty(x.shape)

    def run(options: Options) -> Tensor:
        number = programs(options, x, rows)
        partial = x.new_empty((number, hidden), dtype=torch.float32)
        launch(
            f"{op}_bwd_kernel",
            rms_norm_bwd_kernel[(number,)],
            dy,
            dy if dsummed is None else dsummed,
            x,
            weight,
            dx,
            partial,
            rows,
            eps,
            hidden=hidden,
            has_dsummed=dsummed is not None,
            **_without_programs(options),
        )
        return partial

    chosen = choose(f"{op}_bwd", spaces.norm_backward(x, dy, dsummed), x, (rows, hidden), run)
    return dx, run(chosen).sum(0).to(weight.dtype)


def _without_programs(options: Options) -> dict[str, int]:
    return {name: value for name, value in options.items() if name != "programs"}
