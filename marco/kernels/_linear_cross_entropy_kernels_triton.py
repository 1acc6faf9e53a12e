"""The Triton kernels of the linear cross-entropy; `linear_cross_entropy_triton` launches them."""

from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from marco.kernels._grid import tile_of_program

#: Where the running maximum starts: finite, so that a tile of -inf logits adds 0 and not NaN.
FLOOR: tl.constexpr = tl.constexpr(-1e38)
#: Gradient filtering drops what rounds away beside 1 in bf16 (arXiv 2411.09009, section 4.3).
FILTER_BELOW: tl.constexpr = tl.constexpr(2.0**-12)
#: Triton's interpreter holds bf16 as integers: `dot` multiplies those, and a cast only cuts.
INTERPRETED: tl.constexpr = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit  # type: ignore[untyped-decorator]
def _dot(b_a: tl.tensor, b_b: tl.tensor, b_out: tl.tensor) -> tl.tensor:
    if INTERPRETED:
        b_a = b_a.to(tl.float32)
        b_b = b_b.to(tl.float32)
    return tl.dot(b_a, b_b, b_out, input_precision="ieee")


@triton.jit  # type: ignore[untyped-decorator]
def _round(b_x: tl.tensor, dtype: tl.constexpr) -> tl.tensor:
    if INTERPRETED and dtype == tl.bfloat16:
        bits = b_x.to(tl.int32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
        b_x = bits.to(tl.float32, bitcast=True)
    return b_x.to(dtype)


@triton.jit  # type: ignore[untyped-decorator]
def _logits(
    x_ptr: tl.tensor,
    w_ptr: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    m_rows: tl.tensor,
    m_columns: tl.tensor,
    hidden: tl.tensor,
    tile_t: tl.constexpr,
    tile_v: tl.constexpr,
    tile_h: tl.constexpr,
) -> tl.tensor:
    """One tile of `x @ w.T`; the same code forward and backward, so the same bits."""
    x_rows = x_ptr + rows.to(tl.int64)[:, None] * hidden
    w_columns = w_ptr + columns.to(tl.int64)[None, :] * hidden
    b_z = tl.zeros((tile_t, tile_v), dtype=tl.float32)
    for start in range(0, hidden, tile_h):
        units = start + tl.arange(0, tile_h)
        m_units = units < hidden
        m_x = m_rows[:, None] & m_units[None, :]
        m_w = m_columns[None, :] & m_units[:, None]
        b_x = tl.load(x_rows + units[None, :], mask=m_x, other=0.0)
        b_w = tl.load(w_columns + units[:, None], mask=m_w, other=0.0)
        b_z = _dot(b_x, b_w, b_z)
    return b_z


@triton.jit  # type: ignore[untyped-decorator]
def linear_cross_entropy_fwd_kernel(
    x_ptr: tl.tensor,
    w_ptr: tl.tensor,
    target_ptr: tl.tensor,
    place_ptr: tl.tensor,
    count_ptr: tl.tensor,
    target_logit_ptr: tl.tensor,
    max_ptr: tl.tensor,
    sum_ptr: tl.tensor,
    total_ptr: tl.tensor,
    weighted_ptr: tl.tensor,
    best_ptr: tl.tensor,
    tokens: tl.tensor,
    vocabulary: tl.tensor,
    hidden: tl.tensor,
    tiles_a_part: tl.tensor,
    group: tl.tensor,
    gathered: tl.constexpr,
    smoothed: tl.constexpr,
    statistics: tl.constexpr,
    tile_t: tl.constexpr,
    tile_v: tl.constexpr,
    tile_h: tl.constexpr,
) -> None:
    """One tile of tokens × one part of the vocabulary: an online log-sum-exp over its tiles.

    `gathered`: of the tokens only the first `count` of `place` take part, here and below; how many
    they are, the host need not know.
    """
    if gathered:
        tokens = tl.load(count_ptr)
        if tl.program_id(1) * tile_t >= tokens:
            return
    tile, part = tile_of_program(tokens, tile_t, group)
    parts = tl.num_programs(0)
    rows = tile * tile_t + tl.arange(0, tile_t)
    m_rows = rows < tokens
    if gathered:
        rows = tl.load(place_ptr + rows, mask=m_rows, other=0)
    target = tl.load(target_ptr + rows, mask=m_rows, other=-1)
    b_max = tl.full((tile_t,), FLOOR, dtype=tl.float32)
    b_sum = tl.zeros((tile_t,), dtype=tl.float32)
    b_total = tl.zeros((tile_t,), dtype=tl.float32)
    b_weighted = tl.zeros((tile_t,), dtype=tl.float32)
    b_best = tl.zeros((tile_t,), dtype=tl.int32)
    first = part * tiles_a_part * tile_v
    end = tl.minimum(first + tiles_a_part * tile_v, vocabulary)
    for start in range(first, end, tile_v):
        columns = start + tl.arange(0, tile_v)
        m_columns = columns < end
        b_z = _logits(
            x_ptr, w_ptr, rows, columns, m_rows, m_columns, hidden, tile_t, tile_v, tile_h
        )

        # Not the rows that the last tile has beyond the end: such a target's loss is NaN.
        here = (target >= start) & (target < tl.minimum(start + tile_v, end))
        b_target = tl.sum(tl.where(columns[None, :] == target[:, None], b_z, 0.0), axis=1)
        tl.store(target_logit_ptr + rows, b_target, mask=m_rows & here)
        if smoothed:
            b_total += tl.sum(tl.where(m_columns[None, :], b_z, 0.0), axis=1)

        b_z = tl.where(m_columns[None, :], b_z, float("-inf"))
        # tl.max passes over NaN; the sum of exponentials does not.
        tile_max = tl.max(b_z, axis=1)
        if statistics:
            # The first of the largest; tl.argmax fails in the interpreter where all are NaN.
            m_best = b_z == tile_max[:, None]
            tile_best = tl.min(tl.where(m_best, columns[None, :], vocabulary), axis=1)
            b_best = tl.where(tile_max > b_max, tile_best, b_best)
        new_max = tl.maximum(b_max, tile_max)
        rescale = tl.exp(b_max - new_max)
        b_shifted = b_z - new_max[:, None]
        b_exp = tl.exp(b_shifted)
        if statistics:
            # Sum of exp(z - max) (z - max); 0 × -inf counts as its limit, 0.
            b_moved = rescale * (b_weighted + (b_max - new_max) * b_sum)
            b_weighted = b_moved + tl.sum(b_exp * tl.where(b_exp > 0, b_shifted, 0.0), axis=1)
        b_sum = b_sum * rescale + tl.sum(b_exp, axis=1)
        b_max = new_max

    place = rows.to(tl.int64) * parts + part
    tl.store(max_ptr + place, b_max, mask=m_rows)
    tl.store(sum_ptr + place, b_sum, mask=m_rows)
    if smoothed:
        tl.store(total_ptr + place, b_total, mask=m_rows)
    if statistics:
        tl.store(weighted_ptr + place, b_weighted, mask=m_rows)
        tl.store(best_ptr + place, b_best, mask=m_rows)


@triton.jit  # type: ignore[untyped-decorator]
def linear_cross_entropy_bwd_kernel(
    x_ptr: tl.tensor,
    w_ptr: tl.tensor,
    target_ptr: tl.tensor,
    place_ptr: tl.tensor,
    count_ptr: tl.tensor,
    max_ptr: tl.tensor,
    log_sum_ptr: tl.tensor,
    grad_ptr: tl.tensor,
    d_ptr: tl.tensor,
    kept_ptr: tl.tensor,
    tokens: tl.tensor,
    first: tl.tensor,
    end: tl.tensor,
    vocabulary: tl.tensor,
    hidden: tl.tensor,
    d_stride: tl.tensor,
    z_loss: tl.tensor,
    smoothing: tl.tensor,
    group: tl.tensor,
    gathered: tl.constexpr,
    filtered: tl.constexpr,
    tile_t: tl.constexpr,
    tile_v: tl.constexpr,
    tile_h: tl.constexpr,
) -> None:
    """One tile of the gradient of the logits, for the slab `first:end` of the vocabulary.

    `d` has a row for each token that takes part.
    """
    if gathered:
        tokens = tl.load(count_ptr)
        if tl.program_id(1) * tile_t >= tokens:
            return
    row_tile, tile = tile_of_program(tokens, tile_t, group)
    d_rows = row_tile * tile_t + tl.arange(0, tile_t)
    within = tile * tile_v + tl.arange(0, tile_v)
    columns = first + within
    m_rows = d_rows < tokens
    rows = d_rows
    if gathered:
        rows = tl.load(place_ptr + d_rows, mask=m_rows, other=0)
    m_columns = columns < end
    b_z = _logits(x_ptr, w_ptr, rows, columns, m_rows, m_columns, hidden, tile_t, tile_v, tile_h)

    target = tl.load(target_ptr + rows, mask=m_rows, other=-1)
    b_max = tl.load(max_ptr + rows, mask=m_rows, other=0.0)
    b_log_sum = tl.load(log_sum_ptr + rows, mask=m_rows, other=0.0)
    b_grad = tl.load(grad_ptr + rows, mask=m_rows, other=0.0)
    # Python floats are float64 in Triton's interpreter.
    z_loss = tl.full((), z_loss, dtype=tl.float32)
    smoothing = tl.full((), smoothing, dtype=tl.float32)
    # Two subtractions, and the z-loss apart: their sums are rounded, and a sure prediction's p - 1
    # is lost in that.
    b_p = tl.exp((b_z - b_max[:, None]) - b_log_sum[:, None])
    b_d = b_p - tl.where(columns[None, :] == target[:, None], 1.0 - smoothing, 0.0)
    b_d += b_p * (2.0 * z_loss * (b_max + b_log_sum)[:, None])
    b_d -= smoothing / vocabulary
    m_d = m_rows[:, None] & m_columns[None, :]
    if filtered:
        # Written so that NaN is kept.
        m_dropped = (tl.abs(b_d) < FILTER_BELOW) | ~m_d
        b_d = tl.where(m_dropped, 0.0, b_d)
        kept = tl.max(tl.where(m_dropped, 0, 1))
        tl.store(kept_ptr + row_tile * tl.num_programs(0) + tile, kept)
    b_d *= b_grad[:, None]
    d_ptrs = d_ptr + d_rows.to(tl.int64)[:, None] * d_stride + within[None, :]
    tl.store(d_ptrs, _round(b_d, d_ptr.dtype.element_ty), mask=m_d)


@triton.jit  # type: ignore[untyped-decorator]
def linear_cross_entropy_product_kernel(
    a_ptr: tl.tensor,
    b_ptr: tl.tensor,
    out_ptr: tl.tensor,
    place_ptr: tl.tensor,
    count_ptr: tl.tensor,
    kept_ptr: tl.tensor,
    unscale_ptr: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    depth: tl.tensor,
    a_stride_row: tl.tensor,
    a_stride_depth: tl.tensor,
    kept_stride_row: tl.tensor,
    kept_stride_depth: tl.tensor,
    group: tl.tensor,
    gathered: tl.constexpr,
    accumulate: tl.constexpr,
    filtered: tl.constexpr,
    tile_m: tl.constexpr,
    tile_n: tl.constexpr,
    tile_k: tl.constexpr,
) -> None:
    """`out (+)= a @ b × unscale`, skipping the tiles of `a` marked empty (`filtered`).

    a [rows, depth] any strides, b [depth, columns] and out [rows, columns] contiguous. The tiles
    of the marks are tile_m × tile_m, and tile_k divides tile_m. `gathered` says where the tokens
    are that take part: 1, rows of `out`; 2, rows of `b`; 0, neither.
    """
    if gathered == 1:
        rows = tl.load(count_ptr)
        if tl.program_id(1) * tile_m >= rows:
            return
    if gathered == 2:
        depth = tl.load(count_ptr)
    tile, column_tile = tile_of_program(rows, tile_m, group)
    row = tile * tile_m + tl.arange(0, tile_m)
    column = column_tile * tile_n + tl.arange(0, tile_n)
    m_row = row < rows
    m_column = column < columns
    a_rows = a_ptr + row.to(tl.int64)[:, None] * a_stride_row
    b_out = tl.zeros((tile_m, tile_n), dtype=tl.float32)
    for start in range(0, depth, tile_k):
        needed = True
        if filtered:
            mark = tile * kept_stride_row + (start // tile_m) * kept_stride_depth
            needed = tl.load(kept_ptr + mark) != 0
        if needed:
            deep = start + tl.arange(0, tile_k)
            m_deep = deep < depth
            a_ptrs = a_rows + deep.to(tl.int64)[None, :] * a_stride_depth
            if gathered == 2:
                deep = tl.load(place_ptr + deep, mask=m_deep, other=0)
            b_ptrs = b_ptr + deep.to(tl.int64)[:, None] * columns + column[None, :]
            b_a = tl.load(a_ptrs, mask=m_row[:, None] & m_deep[None, :], other=0.0)
            b_b = tl.load(b_ptrs, mask=m_deep[:, None] & m_column[None, :], other=0.0)
            b_out = _dot(b_a, b_b, b_out)
    b_out *= tl.load(unscale_ptr)
    if gathered == 1:
        row = tl.load(place_ptr + row, mask=m_row, other=0)
    out_ptrs = out_ptr + row.to(tl.int64)[:, None] * columns + column[None, :]
    m_out = m_row[:, None] & m_column[None, :]
    if accumulate:
        b_out += tl.load(out_ptrs, mask=m_out, other=0.0)
    tl.store(out_ptrs, _round(b_out, out_ptr.dtype.element_ty), mask=m_out)
