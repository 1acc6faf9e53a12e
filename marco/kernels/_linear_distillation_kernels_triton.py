"""The Triton kernels of the linear distillation; `linear_distillation_triton` launches them.

A program takes a tile of tokens and one slab of the vocabulary, and walks over the slab's tiles;
what it leaves behind is one number a token. Sums over slabs are done in order: no atomics.
"""

from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from marco.kernels._grid import tile_of_program

#: Triton's interpreter holds bf16 as integers, and cuts numbers off to it.
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit  # type: ignore[untyped-decorator]
def _add_product(a: tl.tensor, b: tl.tensor, total: tl.tensor) -> tl.tensor:
    """`total` + `a @ b`, in fp32 whatever the type of `a` and `b`."""
    if INTERPRETED:
        # Triton's interpreter would multiply the bit patterns of bf16 numbers.
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision="ieee")


@triton.jit  # type: ignore[untyped-decorator]
def _logits(
    h_ptr: tl.tensor,
    w_ptr: tl.tensor,
    token: tl.tensor,
    row: tl.tensor,
    tokens: tl.tensor,
    limit: tl.tensor,
    size: tl.tensor,
    temperature: tl.tensor,
    b_token: tl.constexpr,
    b_row: tl.constexpr,
    b_size: tl.constexpr,
) -> tl.tensor:
    """Logits `[b_token, b_row]` in fp32; any number outside `tokens` and `limit`."""
    column = tl.arange(0, b_size)
    h_ptrs = h_ptr + token.to(tl.int64)[:, None] * size + column[None, :]
    w_ptrs = w_ptr + row.to(tl.int64)[:, None] * size + column[None, :]
    logits = tl.zeros([b_token, b_row], tl.float32)
    for start in range(0, size, b_size):
        m_column = (start + column < size)[None, :]
        h = tl.load(h_ptrs + start, mask=(token < tokens)[:, None] & m_column, other=0.0)
        w = tl.load(w_ptrs + start, mask=(row < limit)[:, None] & m_column, other=0.0)
        logits = _add_product(h, tl.trans(w), logits)
    return logits / tl.cast(temperature, tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _log_probabilities(
    logits: tl.tensor, lse_ptr: tl.tensor, token: tl.tensor, tokens: tl.tensor
) -> tl.tensor:
    """The logits under their log-sum-exp, a term at a time: the terms' sum would be rounded."""
    m_token = token < tokens
    top = tl.load(lse_ptr + token, mask=m_token, other=0.0)
    log_sum = tl.load(lse_ptr + tokens + token, mask=m_token, other=0.0)
    return logits - top[:, None] - log_sum[:, None]


@triton.jit  # type: ignore[untyped-decorator]
def _gap_to_middle(mine: tl.tensor, other: tl.tensor) -> tl.tensor:
    """log p - log m with m the mean of p and the other: exactly 0 where they agree."""
    apart = other - mine
    return -tl.maximum(apart, 0.0) - tl.log(0.5 + 0.5 * tl.exp(-tl.abs(apart)))


@triton.jit  # type: ignore[untyped-decorator]
def linear_distillation_lse_kernel(
    h_ptr: tl.tensor,
    w_ptr: tl.tensor,
    parts_ptr: tl.tensor,
    tokens: tl.tensor,
    limit: tl.tensor,
    size: tl.tensor,
    slab: tl.tensor,
    temperature: tl.tensor,
    group: tl.tensor,
    b_token: tl.constexpr,
    b_row: tl.constexpr,
    b_size: tl.constexpr,
) -> None:
    """One head's largest logit z in a slab, and sum exp(logit - z): `parts [slabs, 2, tokens]`."""
    tile, part = tile_of_program(tokens, b_token, group)
    token = tile * b_token + tl.arange(0, b_token)
    top = tl.full([b_token], float("-inf"), tl.float32)
    total = tl.zeros([b_token], tl.float32)
    for start in range(part * slab, tl.minimum((part + 1) * slab, limit), b_row):
        row = start + tl.arange(0, b_row)
        logits = _logits(
            h_ptr, w_ptr, token, row, tokens, limit, size, temperature, b_token, b_row, b_size
        )
        logits = tl.where((row < limit)[None, :], logits, float("-inf"))
        # A NaN that the maximum drops is still in the sum.
        higher = tl.maximum(top, tl.max(logits, axis=1))
        # All -inf so far: any finite number keeps the differences from being NaN.
        base = tl.where(higher == float("-inf"), 0.0, higher)
        total = total * tl.exp(top - base) + tl.sum(tl.exp(logits - base[:, None]), axis=1)
        top = higher
    to = parts_ptr + part.to(tl.int64) * 2 * tokens + token
    tl.store(to, top, mask=token < tokens)
    tl.store(to + tokens, total, mask=token < tokens)


@triton.jit  # type: ignore[untyped-decorator]
def linear_distillation_fwd_kernel(
    sh_ptr: tl.tensor,
    sw_ptr: tl.tensor,
    th_ptr: tl.tensor,
    tw_ptr: tl.tensor,
    s_lse_ptr: tl.tensor,
    t_lse_ptr: tl.tensor,
    from_t_ptr: tl.tensor,
    from_s_ptr: tl.tensor,
    tokens: tl.tensor,
    limit: tl.tensor,
    s_size: tl.tensor,
    t_size: tl.tensor,
    slab: tl.tensor,
    temperature: tl.tensor,
    group: tl.tensor,
    mode: tl.constexpr,
    b_token: tl.constexpr,
    b_row: tl.constexpr,
    b_size: tl.constexpr,
) -> None:
    """One slab's share of the sums under t and under s: `from_t`, `from_s [slabs, tokens]`."""
    tile, part = tile_of_program(tokens, b_token, group)
    token = tile * b_token + tl.arange(0, b_token)
    m_token = token < tokens
    from_t = tl.zeros([b_token], tl.float32)
    from_s = tl.zeros([b_token], tl.float32)
    for start in range(part * slab, tl.minimum((part + 1) * slab, limit), b_row):
        row = start + tl.arange(0, b_row)
        m_row = (row < limit)[None, :]
        s = _logits(
            sh_ptr, sw_ptr, token, row, tokens, limit, s_size, temperature, b_token, b_row, b_size
        )
        s = _log_probabilities(s, s_lse_ptr, token, tokens)
        t = _logits(
            th_ptr, tw_ptr, token, row, tokens, limit, t_size, temperature, b_token, b_row, b_size
        )
        t = _log_probabilities(t, t_lse_ptr, token, tokens)
        if mode == 0:
            from_t += tl.sum(tl.where(m_row, tl.exp(t) * (t - s), 0.0), axis=1)
        elif mode == 1:
            from_s += tl.sum(tl.where(m_row, tl.exp(s) * (s - t), 0.0), axis=1)
        else:
            from_t += tl.sum(tl.where(m_row, tl.exp(t) * _gap_to_middle(t, s), 0.0), axis=1)
            from_s += tl.sum(tl.where(m_row, tl.exp(s) * _gap_to_middle(s, t), 0.0), axis=1)
    to = part.to(tl.int64) * tokens + token
    tl.store(from_t_ptr + to, from_t, mask=m_token)
    tl.store(from_s_ptr + to, from_s, mask=m_token)


@triton.jit  # type: ignore[untyped-decorator]
def linear_distillation_bwd_kernel(
    sh_ptr: tl.tensor,
    sw_ptr: tl.tensor,
    th_ptr: tl.tensor,
    tw_ptr: tl.tensor,
    incoming_ptr: tl.tensor,
    s_lse_ptr: tl.tensor,
    t_lse_ptr: tl.tensor,
    s_kl_ptr: tl.tensor,
    d_ptr: tl.tensor,
    tokens: tl.tensor,
    first: tl.tensor,
    limit: tl.tensor,
    s_size: tl.tensor,
    t_size: tl.tensor,
    slab: tl.tensor,
    temperature: tl.tensor,
    group: tl.tensor,
    mode: tl.constexpr,
    b_token: tl.constexpr,
    b_row: tl.constexpr,
    b_size: tl.constexpr,
) -> None:
    """Gradient of the student's logits in the slab from row `first`: `d [tokens, slab]`."""
    tile, row_tile = tile_of_program(tokens, b_token, group)
    column = row_tile * b_row + tl.arange(0, b_row)
    token = tile * b_token + tl.arange(0, b_token)
    row = first + column
    m_token = token < tokens
    s_kl = tl.load(s_kl_ptr + token, mask=m_token, other=0.0)[:, None]
    incoming = tl.load(incoming_ptr + token, mask=m_token, other=0.0)[:, None]
    s = _logits(
        sh_ptr, sw_ptr, token, row, tokens, limit, s_size, temperature, b_token, b_row, b_size
    )
    s = _log_probabilities(s, s_lse_ptr, token, tokens)
    t = _logits(
        th_ptr, tw_ptr, token, row, tokens, limit, t_size, temperature, b_token, b_row, b_size
    )
    t = _log_probabilities(t, t_lse_ptr, token, tokens)
    if mode == 0:
        d = tl.exp(s) - tl.exp(t)
    elif mode == 1:
        d = tl.exp(s) * (s - t - s_kl)
    else:
        d = 0.5 * tl.exp(s) * (_gap_to_middle(s, t) - s_kl)
    d_ptrs = d_ptr + token.to(tl.int64)[:, None] * slab + column[None, :]
    m_d = m_token[:, None] & (row < limit)[None, :]
    tl.store(d_ptrs, (incoming * d).to(d_ptr.dtype.element_ty), mask=m_d)


@triton.jit  # type: ignore[untyped-decorator]
def linear_distillation_hidden_kernel(
    d_ptr: tl.tensor,
    w_ptr: tl.tensor,
    dh_ptr: tl.tensor,
    tokens: tl.tensor,
    rows: tl.tensor,
    size: tl.tensor,
    slab: tl.tensor,
    group: tl.tensor,
    b_token: tl.constexpr,
    b_row: tl.constexpr,
    b_size: tl.constexpr,
) -> None:
    """`dh [tokens, size]`, in fp32, += `d [tokens, rows] @ w [rows, size]`.

    torch.mm would round every slab's product to the type of `d`.
    """
    tile, column_tile = tile_of_program(tokens, b_token, group)
    column = column_tile * b_size + tl.arange(0, b_size)
    token = tile * b_token + tl.arange(0, b_token)
    m_token, m_column = (token < tokens)[:, None], (column < size)[None, :]
    dh_ptrs = dh_ptr + token.to(tl.int64)[:, None] * size + column[None, :]
    dh = tl.load(dh_ptrs, mask=m_token & m_column, other=0.0)
    for start in range(0, rows, b_row):
        row = start + tl.arange(0, b_row)
        d_ptrs = d_ptr + token.to(tl.int64)[:, None] * slab + row[None, :]
        w_ptrs = w_ptr + row.to(tl.int64)[:, None] * size + column[None, :]
        d = tl.load(d_ptrs, mask=m_token & (row < rows)[None, :], other=0.0)
        w = tl.load(w_ptrs, mask=(row < rows)[:, None] & m_column, other=0.0)
        dh = _add_product(d, w, dh)
    tl.store(dh_ptrs, dh, mask=m_token & m_column)
