"""Causal attention within packed documents on a CPU: blocks of queries, no [length, length] mask.

A block of queries meets the keys from the start of its first token's document to its own end, so
the masked half is skipped and a long row of short documents costs what its documents cost. The
heads that share keys are rows of one product: keys and values are never repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from marco.kernels.torch_path import native
from marco.kernels.torch_path.types import compute_type

BLOCK = 128  # queries; 64 and 256 were slower on most shapes
KEPT_LENGTH = 256  # up to here the probabilities are kept for the backward; beyond, made again


@dataclass(frozen=True)
class Block:
    """Queries [start, end) of every row and the keys [first, end) that any of them may see.

    Attributes:
        hides: the first key that any of them may not see; all keys before it are visible to all.
        bias: [rows or 1, 1, end - start, 1, end - hides] fp32: 0 where visible, else -infinity.
    """

    start: int
    end: int
    first: int
    hides: int
    bias: Tensor

    def places(self, group: int) -> tuple[slice, slice]:
        """Rows of the queries, where each token has `group` of them, and rows of the keys."""
        return slice(self.start * group, self.end * group), slice(self.first, self.end)


@dataclass(frozen=True)
class Packing:
    """Where documents begin in a batch of packed rows; made once a batch, used by all layers.

    Attributes:
        shape: rows and length; one row stands for any number of rows packed like it.
    """

    blocks: list[Block]
    shape: tuple[int, int]

    @classmethod
    def of(cls, position_ids: Tensor, *, window: int | None = None) -> Packing:
        """From positions [rows, length] that restart at every document.

        `window` also hides keys that lie that many tokens back or more (a sliding window).
        Raises ValueError where there are no rows, or where every key would be hidden.
        """
        if position_ids.ndim != 2 or position_ids.shape[0] == 0:
            shape = list(position_ids.shape)
            raise ValueError(f"position_ids {shape} should be [rows, length], of a row or more.")
        if window is not None and window < 1:
            raise ValueError(f"window={window} should be at least 1: a token sees itself.")
        rows, length = position_ids.shape
        places = torch.arange(length)
        restarts = torch.ones_like(position_ids, dtype=torch.bool)
        restarts[:, 1:] = position_ids[:, 1:] != position_ids[:, :-1] + 1
        starts = torch.where(restarts, places, 0).cummax(1).values
        if window is not None:
            starts = torch.maximum(starts, places - window + 1)
        if bool((starts == starts[:1]).all()):
            starts = starts[:1]
        blocks = []
        for start in range(0, length, BLOCK):
            end = min(length, start + BLOCK)
            own = starts[:, start:end]
            first = int(own.min())
            hides = start + 1 if int(own.max()) == first else first
            keys = places[hides:end]
            seen = (keys >= own[..., None]) & (keys <= places[start:end, None])
            bias = torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)
            blocks.append(Block(start, end, first, hides, bias[:, None, :, None, :]))
        return cls(blocks, (rows, length))


def packed_attention(q: Tensor, k: Tensor, v: Tensor, packing: Packing, scale: float) -> Tensor:
    """Attention of every token to its own document's tokens up to itself.

    Args:
        q: [rows, length, heads, width]. k, v: [rows, length, kv heads, width]; heads is a
            multiple of kv heads, and each group of neighbouring heads shares one.
        scale: what the scores are multiplied by.

    Returns:
        [rows, length, heads, width].

    Raises:
        ValueError: shapes that do not fit each other or the packing.
    """
    _require_shapes(q, k, v, packing)
    dtype = compute_type(q)
    q, k, v = (x.to(dtype) for x in (q, k, v))
    return _Attention.apply(q, k, v, packing, scale)  # type: ignore[no-any-return, no-untyped-call]


def _require_shapes(q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> None:
    shapes = f"packed_attention: q {list(q.shape)}, k {list(k.shape)} and v {list(v.shape)}"
    if q.ndim != 4 or k.ndim != 4 or q.shape[:2] != k.shape[:2] or q.shape[3] != k.shape[3]:
        raise ValueError(
            f"{shapes} should be [rows, length, heads, width] and differ in heads only."
        )
    if k.shape != v.shape or k.shape[2] == 0 or q.shape[2] % k.shape[2]:
        raise ValueError(
            f"{shapes}: k and v should be of one shape, with heads that divide q's {q.shape[2]}."
        )
    rows, length = packing.shape
    if q.shape[1] != length or q.shape[0] != rows != 1:
        raise ValueError(f"{shapes} do not fit a packing of {rows} rows of {length} tokens.")


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, packing: Packing, scale: float
    ) -> Tensor:
        rows, length, kv_heads = k.shape[:3]
        group = q.shape[2] // kv_heads
        queries, keys, values = (_by_kv_head(x, kv_heads) for x in (q, k, v))
        out = torch.empty_like(queries)
        kept = []
        for block in packing.blocks:
            mine, seen = block.places(group)
            probs = _probabilities(queries[:, mine], keys[:, seen], block, rows, scale)
            torch.bmm(probs, values[:, seen], out=out[:, mine])
            kept.append(probs)
        ctx.save_for_backward(queries, keys, values, *(kept if length <= KEPT_LENGTH else ()))
        ctx.packing, ctx.scale, ctx.shapes = packing, scale, (q.shape, k.shape)
        ctx.native = native.wanted()
        return _by_token(out, q.shape, kv_heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, *kept = ctx.saved_tensors
        q_shape, k_shape = ctx.shapes
        rows, kv_heads = k_shape[0], k_shape[2]
        wide = torch.promote_types(keys.dtype, torch.float32)
        d_out = _by_kv_head(dy, kv_heads)
        d_queries = torch.empty_like(queries)
        d_keys = torch.zeros_like(keys, dtype=wide)
        d_values = torch.zeros_like(values, dtype=wide)
        again = native.on(_again) if ctx.native else _again
        for number, block in enumerate(ctx.packing.blocks):
            mine, seen = block.places(q_shape[2] // kv_heads)
            query, key, above = queries[:, mine], keys[:, seen], d_out[:, mine]
            d_probs = torch.bmm(above, values[:, seen].transpose(1, 2))
            if kept:
                probs = kept[number]
                d_scores = torch._softmax_backward_data(d_probs, probs, -1, probs.dtype)
            else:
                probs, d_scores = again(query, key, block, rows, ctx.scale, d_probs)
            d_values[:, seen].add_(torch.bmm(probs.transpose(1, 2), above))
            d_query = d_queries[:, mine]  # scaled within the product: rounded once, no pass more
            torch.baddbmm(d_query, d_scores, key, beta=0, alpha=ctx.scale, out=d_query)
            d_keys[:, seen].add_(torch.bmm(d_scores.transpose(1, 2), query))
        dq = _by_token(d_queries, q_shape, kv_heads)
        dk = _by_token(d_keys.mul_(ctx.scale).to(keys.dtype), k_shape, kv_heads)
        return dq, dk, _by_token(d_values.to(keys.dtype), k_shape, kv_heads), None, None


def _scores(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """[rows * kv heads, queries * group, keys], in the type of the queries."""
    made = query.new_empty(query.shape[0], query.shape[1], key.shape[1])
    return torch.baddbmm(made, query, key.transpose(1, 2), beta=0, alpha=scale)


def _probabilities(query: Tensor, key: Tensor, block: Block, rows: int, scale: float) -> Tensor:
    """Softmax of the scores, in their place."""
    scores = _scores(query, key, scale)
    if native.wanted() and native.fits(scores):
        _softmax_natively(scores, None, block, rows)
        return scores
    queries = block.end - block.start
    apart = scores.view(rows, -1, queries, scores.shape[1] // queries, scores.shape[2])
    apart[..., block.hides - block.first :].add_(block.bias)
    return torch.softmax(scores, -1, out=scores)


def _again(
    query: Tensor, key: Tensor, block: Block, rows: int, scale: float, d_probs: Tensor
) -> tuple[Tensor, Tensor]:
    """The probabilities made again, and the scores' gradient, in one pass where C++ runs."""
    if native.wanted() and native.fits(query, d_probs, strided=True):
        scores = _scores(query, key, scale)
        _softmax_natively(scores, d_probs, block, rows)
        return scores, d_probs
    probs = _probabilities(query, key, block, rows, scale)
    return probs, torch._softmax_backward_data(d_probs, probs, -1, probs.dtype)


def _softmax_natively(scores: Tensor, d_probs: Tensor | None, block: Block, rows: int) -> None:
    batch, keys, queries = scores.shape[0], scores.shape[2], block.end - block.start
    step = 0 if block.bias.shape[0] == 1 else block.bias[0].numel()
    sizes = (batch, queries, scores.shape[1] // queries, keys, block.hides - block.first)
    kind = native.is_bf16(scores)
    native.call("attention", scores, d_probs, kind, *sizes, block.bias, step, batch // rows)


def _by_kv_head(x: Tensor, kv_heads: int) -> Tensor:
    """[rows, length, heads, width] → [rows * kv heads, length * group, width]."""
    rows, length, heads, width = x.shape
    apart = x.reshape(rows, length, kv_heads, heads // kv_heads, width)
    return apart.transpose(1, 2).reshape(rows * kv_heads, -1, width).contiguous()


def _by_token(x: Tensor, shape: torch.Size, kv_heads: int) -> Tensor:
    """The way back, to [rows, length, heads, width]."""
    rows, length, heads, width = shape
    apart = x.view(rows, kv_heads, length, heads // kv_heads, width)
    return apart.transpose(1, 2).reshape(shape)
