"""Log-probabilities of targets under a linear head: for scoring, and for losses on preferences."""

from __future__ import annotations

from torch import Tensor

from marco.kernels.linear_cross_entropy import (
    Backend,
    linear_cross_entropy,
    linear_cross_entropy_naive,
)


def linear_log_probs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    ignore_index: int | None = -100,
    limit: int | None = None,
    backend: Backend = "torch",
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of targets: of every token, and summed over each sequence.

    They are those of `linear_cross_entropy`, with its memory; `limit` and `backend` are its own.

    Args:
        hidden: [sequences, length, hidden].
        weight: [rows, hidden], the head.
        targets: [sequences, length] int64.
        ignore_index: the target of tokens that do not count; null says that all do.

    Returns:
        [sequences, length] fp32, zero where ignored; and [sequences] fp32. Both differentiable.

    Raises:
        ValueError: shapes, types or devices that do not fit.
        NotImplementedError: forward-mode AD.
    """
    _check(hidden, targets)
    losses = linear_cross_entropy(
        hidden.flatten(0, 1),
        weight,
        targets.flatten(),
        ignore_index=ignore_index,
        limit=limit,
        backend=backend,
    )
    tokens = -losses.view(targets.shape)
    return tokens, tokens.sum(1)


def linear_log_probs_naive(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    ignore_index: int | None = -100,
    limit: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The same with whole logits, in plain torch; float64 stays float64."""
    _check(hidden, targets)
    losses = linear_cross_entropy_naive(
        hidden.flatten(0, 1), weight, targets.flatten(), ignore_index=ignore_index, limit=limit
    )
    tokens = -losses.view(targets.shape)
    return tokens, tokens.sum(1)


def _check(hidden: Tensor, targets: Tensor) -> None:
    if hidden.ndim != 3 or targets.shape != hidden.shape[:2]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)} and targets {tuple(targets.shape)} should be "
            "[sequences, length, hidden] and [sequences, length]."
        )
