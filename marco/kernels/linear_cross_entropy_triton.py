"""Linear cross-entropy in Triton: no tensor of [tokens, rows], forward or backward.

After "Cut Your Losses in Large-Vocabulary Language Models" (arXiv 2411.09009). The forward splits
the rows into at most 32 parts, each summed up online, and keeps a few [tokens, parts]. The backward
takes the rows a slab (1/48) at a time: it makes the logits of the slab again, turns them into their
gradient and multiplies. Where the paper adds up gradients under locks, in any order, a slab's
gradient of the head is complete in one product, and the gradient of the hidden states grows slab by
slab: two runs give the same bits.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels._linear_cross_entropy_kernels_triton import (
    linear_cross_entropy_bwd_kernel,
    linear_cross_entropy_fwd_kernel,
    linear_cross_entropy_product_kernel,
)
from marco.kernels.launches import LAUNCHES

#: Parts of the vocabulary in the forward: enough programs for a GPU with few tokens.
PARTS = 32
#: Slabs of the vocabulary in the backward: the logits' gradient is 1/48 of the whole.
SLABS = 48
#: What the gradients of fp16 logits are scaled to: far from overflow, and 1e-9 is still normal.
FP16_TARGET = 2.0**14

TYPES = (torch.float32, torch.bfloat16, torch.float16)


@overload
def linear_cross_entropy_triton(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    z_loss: float = ...,
    label_smoothing: float = ...,
    limit: int | None = ...,
    filter_gradients: bool = ...,
    statistics: Literal[False] = ...,
) -> Tensor: ...


@overload
def linear_cross_entropy_triton(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    z_loss: float = ...,
    label_smoothing: float = ...,
    limit: int | None = ...,
    filter_gradients: bool = ...,
    statistics: Literal[True],
) -> tuple[Tensor, Tensor, Tensor]: ...


def linear_cross_entropy_triton(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    limit: int | None = None,
    filter_gradients: bool = False,
    statistics: bool = False,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Return the cross-entropy of every token, [tokens] fp32, in nats.

    loss = lse(z) - (1 - s) z_target - s mean(z) + z_loss lse(z)², z = hidden @ weight.T in fp32, s
    the label smoothing. At 8,192 tokens, 3,584 wide, and 152,064 rows the backward needs 112 MiB
    beside its outputs, most of it the fp32 sum of the hidden states' gradient.

    Args:
        hidden: [tokens, hidden], fp32, bf16 or fp16.
        weight: [rows, hidden] of the same type, the head.
        targets: [tokens] int64, every one of them among the rows that take part.
        z_loss: weight of the squared log-partition (PaLM, arXiv 2204.02311).
        label_smoothing: share of the target's probability that is spread over all rows.
        limit: only the first `limit` rows take part; null means all.
        filter_gradients: an approximation (arXiv 2411.09009, section 4.3): entries of the logits'
            gradient below 2^-12, before the upstream gradient, count as zero, and tiles that hold
            nothing else are not multiplied. Losses are exact, gradients are not.
        statistics: also return `correct` [tokens] bool, whether the target is the most probable
            row, and `entropy` [tokens] fp32 of the prediction, in nats; neither has a gradient.

    Raises:
        ValueError: shapes or types that do not fit.
    """
    _check(hidden, weight, targets, limit)
    losses: Tensor
    losses, correct, entropy, _, _ = _linear_cross_entropy(
        hidden,
        weight,
        targets,
        z_loss,
        label_smoothing,
        weight.shape[0] if limit is None else limit,
        filter_gradients,
        statistics,
    )
    if statistics:
        return losses, correct, entropy.detach()
    return losses


@torch.library.custom_op("marco::linear_cross_entropy_triton", mutates_args=())
def _linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    label_smoothing: float,
    limit: int,
    filter_gradients: bool,
    statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return losses, correct, entropy, and the two terms of lse: max(z) and log sum exp(z - max).

    Apart, the terms give losses and probabilities of sure predictions that their sum would round.
    """
    tokens, width = hidden.shape
    asked = tokens if statistics else 0
    if tokens == 0:
        a, b, c, d = (hidden.new_empty(0, dtype=torch.float32) for _ in range(4))
        return a, hidden.new_empty(0, dtype=torch.bool), b, c, d
    hidden, weight, targets = (x.contiguous() for x in (hidden, weight, targets))
    edge, depth, stages = _tiles(hidden.dtype)
    # The statistics need registers of their own.
    tall = 64 if statistics else edge
    tiles_a_part = triton.cdiv(triton.cdiv(limit, edge), PARTS)
    parts = triton.cdiv(limit, edge * tiles_a_part)

    def buffer(wanted: bool, dtype: torch.dtype = torch.float32) -> Tensor:
        return hidden.new_empty((tokens, parts) if wanted else (0,), dtype=dtype)

    maxima, sums = buffer(True), buffer(True)
    totals, weighted = buffer(label_smoothing != 0), buffer(statistics)
    best = buffer(statistics, torch.int32)
    # A target that no row answers leaves NaN, not the memory's last contents.
    target_logits = hidden.new_full((tokens,), torch.nan, dtype=torch.float32)
    LAUNCHES["linear_cross_entropy_fwd_kernel"] += 1
    linear_cross_entropy_fwd_kernel[(parts, triton.cdiv(tokens, tall))](
        hidden,
        weight,
        targets,
        target_logits,
        maxima,
        sums,
        totals,
        weighted,
        best,
        tokens,
        limit,
        width,
        tiles_a_part,
        smoothed=label_smoothing != 0,
        statistics=statistics,
        tile_t=tall,
        tile_v=edge,
        tile_h=depth,
        num_warps=8,
        num_stages=stages,
    )

    maximum, first = maxima.max(dim=1)
    moved = maxima - maximum[:, None]
    shares = moved.exp()
    total_sum = (sums * shares).sum(dim=1)
    log_sum = total_sum.log()
    losses = log_sum + (1 - label_smoothing) * (maximum - target_logits)
    if label_smoothing != 0:
        losses += label_smoothing * (maximum - totals.sum(dim=1) / limit)
    if z_loss != 0:
        losses += z_loss * (maximum + log_sum).square()
    correct = targets.new_empty(asked, dtype=torch.bool)
    entropy = hidden.new_empty(asked, dtype=torch.float32)
    if statistics:
        correct = best.gather(1, first[:, None]).squeeze(1) == targets
        entropy = log_sum - (shares * (weighted + moved * sums)).sum(dim=1) / total_sum
    return losses, correct, entropy, maximum, log_sum


@_linear_cross_entropy.register_fake
def _(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    label_smoothing: float,
    limit: int,
    filter_gradients: bool,
    statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    tokens = hidden.shape[0]
    asked = tokens if statistics else 0
    return (
        hidden.new_empty(tokens, dtype=torch.float32),
        hidden.new_empty(asked, dtype=torch.bool),
        hidden.new_empty(asked, dtype=torch.float32),
        hidden.new_empty(tokens, dtype=torch.float32),
        hidden.new_empty(tokens, dtype=torch.float32),
    )


@torch.library.custom_op("marco::linear_cross_entropy_triton_bwd", mutates_args=())
def _linear_cross_entropy_bwd(
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    maximum: Tensor,
    log_sum: Tensor,
    z_loss: float,
    label_smoothing: float,
    limit: int,
    filter_gradients: bool,
    need_hidden: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of hidden and weight; of one that is not needed, an empty tensor."""
    tokens, width = hidden.shape
    grad_hidden = hidden.new_zeros(hidden.shape if need_hidden else (0,), dtype=torch.float32)
    grad_weight = weight.new_empty(weight.shape if need_weight else (0,))
    if tokens == 0:
        return grad_hidden.to(hidden.dtype), grad_weight.zero_()
    grad_weight[limit:].zero_()
    grad, hidden, weight, targets = (x.contiguous() for x in (grad, hidden, weight, targets))
    edge, depth, stages = _tiles(hidden.dtype)
    slab = triton.cdiv(triton.cdiv(limit, SLABS), 128) * 128
    token_tiles, slab_tiles = triton.cdiv(tokens, edge), slab // edge
    d_logits = hidden.new_empty(tokens, slab)
    kept = grad.new_empty((token_tiles, slab_tiles) if filter_gradients else (0,), dtype=torch.int8)
    scale = _scale(grad, maximum + log_sum, z_loss, hidden.dtype)
    grad, unscale = grad * scale, scale.reciprocal()
    # cuBLAS is the fastest for a whole product, but can neither skip tiles nor undo a scale.
    whole = not filter_gradients and hidden.dtype != torch.float16

    def multiply(a: Tensor, b: Tensor, out: Tensor, marks: tuple[int, int], add: bool) -> None:
        rows, columns = out.shape
        LAUNCHES["linear_cross_entropy_product_kernel"] += 1
        linear_cross_entropy_product_kernel[(triton.cdiv(columns, edge), triton.cdiv(rows, edge))](
            a,
            b,
            out,
            kept,
            unscale,
            rows,
            columns,
            a.shape[1],
            *a.stride(),
            *marks,
            accumulate=add,
            filtered=filter_gradients,
            tile_m=edge,
            tile_n=edge,
            tile_k=depth,
            num_warps=8,
            num_stages=stages,
        )

    for first in range(0, limit, slab):
        end = min(first + slab, limit)
        LAUNCHES["linear_cross_entropy_bwd_kernel"] += 1
        linear_cross_entropy_bwd_kernel[(slab_tiles, token_tiles)](
            hidden,
            weight,
            targets,
            maximum,
            log_sum,
            grad,
            d_logits,
            kept,
            tokens,
            first,
            end,
            limit,
            width,
            slab,
            z_loss,
            label_smoothing,
            filtered=filter_gradients,
            tile_t=edge,
            tile_v=edge,
            tile_h=depth,
            num_warps=8,
            num_stages=stages,
        )
        part = d_logits[:, : end - first]
        if need_hidden:
            multiply(part, weight[first:end], grad_hidden, (slab_tiles, 1), add=True)
        if need_weight and whole:
            torch.mm(part.t(), hidden, out=grad_weight[first:end])
        elif need_weight:
            multiply(part.t(), hidden, grad_weight[first:end], (1, slab_tiles), add=False)
    del d_logits, part  # before the copy of the next line
    return grad_hidden.to(hidden.dtype), grad_weight


@_linear_cross_entropy_bwd.register_fake
def _(
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    maximum: Tensor,
    log_sum: Tensor,
    z_loss: float,
    label_smoothing: float,
    limit: int,
    filter_gradients: bool,
    need_hidden: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    return (
        hidden.new_empty(hidden.shape if need_hidden else (0,)),
        weight.new_empty(weight.shape if need_weight else (0,)),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    hidden, weight, targets, *ctx.options, _ = inputs
    ctx.save_for_backward(hidden, weight, targets, *output[3:])


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    need_hidden, need_weight = ctx.needs_input_grad[:2]
    grad_hidden, grad_weight = _linear_cross_entropy_bwd(
        grad, *ctx.saved_tensors, *ctx.options, need_hidden, need_weight
    )
    found = (grad_hidden if need_hidden else None, grad_weight if need_weight else None)
    return *found, *(None,) * 6


_linear_cross_entropy.register_autograd(_backward, setup_context=_setup_context)


def _tiles(dtype: torch.dtype) -> tuple[int, int, int]:
    """Return a tile's edge, its depth and the stages of the pipeline.

    They fit the shared memory of sm_86 (99 KiB) and of gfx942 (64 KiB).
    """
    if dtype == torch.float32:
        return 64, 16, 1
    return 128, 64, 2 if torch.version.hip else 3


def _scale(grad: Tensor, lse: Tensor, z_loss: float, dtype: torch.dtype) -> Tensor:
    """Return what to multiply the logits' gradient by, [1] fp32, a power of 2: 1 but for fp16.

    A mean over 8,192 tokens and 152,064 rows has entries of 1e-9, which fp16 flushes to zero.
    """
    if dtype != torch.float16:
        return torch.ones_like(grad[:1])
    largest = (grad.abs() * (1 + 2 * z_loss * lse.abs())).max()
    return (FP16_TARGET / largest.clamp_min(1e-20)).log2().floor().exp2().view(1)


def _check(hidden: Tensor, weight: Tensor, targets: Tensor, limit: int | None) -> None:
    shapes = f"hidden {tuple(hidden.shape)}, weight {tuple(weight.shape)}"
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(f"{shapes} should be [tokens, hidden] and [rows, hidden].")
    if targets.shape != hidden.shape[:1] or targets.dtype != torch.int64:
        raise ValueError(
            f"targets {tuple(targets.shape)} {targets.dtype} should be int64, one for each of the "
            f"{hidden.shape[0]} tokens."
        )
    if hidden.dtype != weight.dtype or hidden.dtype not in TYPES:
        raise ValueError(
            f"hidden is {hidden.dtype} and weight {weight.dtype}; both should be the same one of "
            "float32, bfloat16 and float16."
        )
    if limit is not None and not 0 < limit <= weight.shape[0]:
        raise ValueError(f"limit={limit} should be between 1 and {weight.shape[0]} rows.")
