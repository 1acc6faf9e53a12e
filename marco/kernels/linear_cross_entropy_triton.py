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
from torch import Tensor

from marco.kernels._counted import counted
from marco.kernels._derivatives import require_no_tangents
from marco.kernels._linear_cross_entropy_launches_triton import backward, forward
from marco.kernels._shapes import require_one_device

TYPES = (torch.float32, torch.bfloat16, torch.float16)


@overload
def linear_cross_entropy_triton(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    ignore_index: int | None = ...,
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
    ignore_index: int | None = ...,
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
    ignore_index: int | None = None,
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
        ignore_index: the target of tokens that do not count: their loss is 0, they cost nothing,
            and how many there are the host need not know. null where there are none, which leaves
            a product to cuBLAS.
        z_loss: weight of the squared log-partition (PaLM, arXiv 2204.02311).
        label_smoothing: share of the target's probability that is spread over all rows.
        limit: only the first `limit` rows take part; null means all.
        filter_gradients: an approximation (arXiv 2411.09009, section 4.3): entries of the logits'
            gradient below 2^-12, before the upstream gradient, count as zero, and tiles that hold
            nothing else are not multiplied. Losses are exact, gradients are not.
        statistics: also return `correct` [tokens] bool, whether the target is the most probable
            row, and `entropy` [tokens] fp32 of the prediction, in nats; neither has a gradient.

    Raises:
        ValueError: shapes, types or devices that do not fit, or an argument out of its range.
        NotImplementedError: forward-mode AD.
    """
    _check(hidden, weight, targets, limit, label_smoothing)
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
        ignore_index,
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
    ignore_index: int | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return losses, correct, entropy, and the two terms of lse: max(z) and log sum exp(z - max).

    Apart, the terms give losses and probabilities of sure predictions that their sum would round.
    """
    if hidden.shape[0] == 0:
        a, b, c, d = (hidden.new_empty(0, dtype=torch.float32) for _ in range(4))
        return a, hidden.new_empty(0, dtype=torch.bool), b, c, d
    taking_part = counted(targets, ignore_index)
    options = (z_loss, label_smoothing, limit, statistics)
    return forward(hidden, weight, targets, taking_part, *options)


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
    ignore_index: int | None,
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
    ignore_index: int | None,
    need_hidden: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of hidden and weight; of one that is not needed, an empty tensor."""
    if hidden.shape[0] == 0:
        wanted = ((hidden, need_hidden), (weight, need_weight))
        of_hidden, of_weight = (x.new_zeros(x.shape if need else (0,)) for x, need in wanted)
        return of_hidden, of_weight
    taking_part = counted(targets, ignore_index)
    options = (z_loss, label_smoothing, limit, filter_gradients, need_hidden, need_weight)
    return backward(grad, hidden, weight, targets, taking_part, maximum, log_sum, *options)


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
    ignore_index: int | None,
    need_hidden: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    return (
        hidden.new_empty(hidden.shape if need_hidden else (0,)),
        weight.new_empty(weight.shape if need_weight else (0,)),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    hidden, weight, targets, *options, _, ignore_index = inputs
    ctx.options = (*options, ignore_index)
    ctx.save_for_backward(hidden, weight, targets, *output[3:])


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    need_hidden, need_weight = ctx.needs_input_grad[:2]
    grad_hidden, grad_weight = _linear_cross_entropy_bwd(
        grad, *ctx.saved_tensors, *ctx.options, need_hidden, need_weight
    )
    found = (grad_hidden if need_hidden else None, grad_weight if need_weight else None)
    return *found, *(None,) * 7


_linear_cross_entropy.register_autograd(_backward, setup_context=_setup_context)


def _check(
    hidden: Tensor, weight: Tensor, targets: Tensor, limit: int | None, label_smoothing: float
) -> None:
    require_one_device("linear_cross_entropy", hidden=hidden, weight=weight, targets=targets)
    require_no_tangents("linear_cross_entropy", hidden=hidden, weight=weight)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing} should be between 0 and 1.")
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
