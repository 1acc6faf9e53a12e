"""Cross-entropy of a linear head, without the logits: memory grows with the tokens alone.

The logits of 8,192 tokens over Qwen2's vocabulary are 2.5 GB in bf16, and as much again for their
gradient. Here they exist a slab at a time, forward and backward.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from marco.kernels._derivatives import require_no_tangents
from marco.kernels._shapes import require_one_device
from marco.kernels.torch_path import linear_cross_entropy as torch_path
from marco.kernels.torch_path.embedding import Tie
from marco.kernels.torch_path.types import compute_type

Backend = Literal["torch", "triton"]

#: torch's own loss must ignore something: what no target is.
NEVER = torch.iinfo(torch.int64).min


class TokenLosses(NamedTuple):
    """What is known of each prediction.

    Attributes:
        losses: [tokens] fp32, nats; zero where the target is ignored.
        correct: [tokens] bool, whether the target is the most probable row.
        entropy: [tokens] fp32, of the predicted distribution, in nats; zero where ignored.
    """

    losses: Tensor
    correct: Tensor
    entropy: Tensor


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    ignore_index: int | None = -100,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    limit: int | None = None,
    backend: Backend = "torch",
    filter_gradients: bool = False,
    upstream: float | None = None,
    tie: Tie | None = None,
) -> Tensor:
    """Return the cross-entropy of every token, [tokens] fp32, in nats; zero where ignored.

    loss = lse(z) - (1 - s) z_target - s mean(z) + z_loss lse(z)², z = hidden @ weight.T, s the
    label smoothing. Ignored tokens are gathered away first and cost nothing.

    Args:
        hidden: [tokens, hidden].
        weight: [rows, hidden], the head. Its gradient is accumulated in fp32.
        targets: [tokens] int64, each a row that takes part, or ignored. Another one is refused by
            the `torch` path; `triton`, which waits for no number, makes its loss NaN.
        ignore_index: the target of tokens that do not count; null says that all do, which spares
            looking for them.
        z_loss: weight of the squared log-partition (PaLM, arXiv 2204.02311).
        label_smoothing: share of the target's probability that is spread over all rows.
        limit: only the first `limit` rows take part; null means all.
        backend: `torch`, or `triton` (arXiv 2411.09009).
        filter_gradients: an approximation, `triton` only: leave out gradients of rows whose
            probability is below 2^-12 (section 4.3 of that paper).
        upstream: what every loss will be multiplied by, where it is known, as in training. The
            `torch` path then makes the gradients in the forward and saves a product; where it
            turns out otherwise they are made again. It never changes a result.
        tie: `torch` path only: where the weight is the embedding as well, what its
            `marco.kernels.torch_path.embedding.embedding` was given.

    Raises:
        ValueError: shapes, types or devices that do not fit, an argument out of its range, or
            `filter_gradients` without `triton`.
        NotImplementedError: forward-mode AD.
    """
    _check(hidden, weight, targets, limit, backend)
    require_no_tangents("linear_cross_entropy", hidden=hidden, weight=weight)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing} should be between 0 and 1.")
    if filter_gradients and backend != "triton":
        raise ValueError("filter_gradients needs backend='triton'.")
    if backend == "triton":
        from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton

        dtype = compute_type(hidden)
        return linear_cross_entropy_triton(
            hidden.to(dtype),
            weight.to(dtype),
            targets,
            ignore_index=ignore_index,
            z_loss=z_loss,
            label_smoothing=label_smoothing,
            limit=limit,
            filter_gradients=filter_gradients,
        )
    kept = None if ignore_index is None else (targets != ignore_index).nonzero().squeeze(1)
    # A compiled graph cannot branch on how many there are.
    if kept is not None and not torch.compiler.is_compiling() and len(kept) == len(targets):
        kept = None
    losses = torch_path.linear_cross_entropy(
        hidden if kept is None else hidden[kept],
        weight,
        targets if kept is None else targets[kept],
        z_loss=z_loss,
        label_smoothing=label_smoothing,
        limit=limit,
        upstream=upstream,
        tie=tie,
    )
    if kept is None:
        return losses
    return losses.new_zeros(targets.shape[0]).index_put((kept,), losses)


def linear_statistics(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    ignore_index: int | None = -100,
    limit: int | None = None,
    backend: Backend = "torch",
) -> TokenLosses:
    """Return loss, correctness and entropy of every token, for logging; no gradients.

    The arguments are those of `linear_cross_entropy`, and so is what it raises. Ignored tokens are
    not correct.
    """
    _check(hidden, weight, targets, limit, backend)
    hidden, weight = hidden.detach(), weight.detach()
    if backend == "triton":
        from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton

        dtype = compute_type(hidden)
        made = linear_cross_entropy_triton(
            hidden.to(dtype),
            weight.to(dtype),
            targets,
            ignore_index=ignore_index,
            limit=limit,
            statistics=True,
        )
        return TokenLosses(*made)
    kept = torch.arange(targets.shape[0], device=targets.device)
    if ignore_index is not None:
        kept = (targets != ignore_index).nonzero().squeeze(1)
    found = torch_path.statistics(hidden[kept], weight, targets[kept], limit)
    losses, entropy = (hidden.new_zeros(targets.shape[0], dtype=torch.float32) for _ in range(2))
    correct = torch.zeros_like(targets, dtype=torch.bool)
    for whole, part in zip((losses, correct, entropy), found, strict=True):
        whole[kept] = part.to(whole.dtype)
    return TokenLosses(losses, correct, entropy)


def linear_cross_entropy_naive(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    ignore_index: int | None = -100,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    limit: int | None = None,
) -> Tensor:
    """The same with whole logits, in plain torch; float64 stays float64."""
    if ignore_index is None:
        ignore_index = NEVER
    logits = functional.linear(hidden, weight if limit is None else weight[:limit])
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = functional.cross_entropy(
        logits,
        targets,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    if z_loss == 0:  # the penalty's gradient takes as much memory as the logits
        return losses
    penalty = z_loss * logits.logsumexp(-1).square()
    return losses + torch.where(targets == ignore_index, 0.0, penalty)


def _check(
    hidden: Tensor, weight: Tensor, targets: Tensor, limit: int | None, backend: str
) -> None:
    if backend not in get_args(Backend):
        raise ValueError(f"backend={backend!r} should be one of {', '.join(get_args(Backend))}.")
    require_one_device("linear_cross_entropy", hidden=hidden, weight=weight, targets=targets)
    if hidden.ndim != 2 or weight.ndim != 2 or targets.shape != hidden.shape[:1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)}, weight {tuple(weight.shape)} and targets "
            f"{tuple(targets.shape)} should be [tokens, hidden], [rows, hidden] and [tokens]."
        )
    if hidden.shape[1] != weight.shape[1]:
        raise ValueError(f"hidden is {hidden.shape[1]} wide, the head {weight.shape[1]}.")
    if targets.dtype != torch.int64:
        raise ValueError(f"targets are {targets.dtype}; they should be int64.")
    if weight.shape[0] == 0:
        raise ValueError(f"the head {tuple(weight.shape)} should have at least one row.")
    if limit is not None and not 0 < limit <= weight.shape[0]:
        raise ValueError(f"limit={limit} should be between 1 and {weight.shape[0]} rows.")
