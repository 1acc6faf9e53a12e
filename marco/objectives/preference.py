"""Losses on preferences, as plain functions of sequences' log-probabilities, one a pair.

`chosen` and `rejected` are [pairs]: log-probabilities of the two answers, summed over their tokens
or averaged, and against a reference model's where the loss has one (`log_ratio`). Any float type.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def log_ratio(policy: Tensor, reference: Tensor | None, lengths: Tensor | None) -> Tensor:
    """Return log-probabilities against the reference's, divided by the answers' lengths.

    Without a `reference` they are the policy's own; without `lengths` (tokens) they are sums.
    """
    ratio = policy if reference is None else policy - reference
    return ratio if lengths is None else ratio / lengths


def dpo_loss(chosen: Tensor, rejected: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Direct preference optimisation (arXiv 2305.18290, equation 7) of log-ratios.

    `label_smoothing` is the probability that a pair is the wrong way round (conservative DPO,
    https://ericmitchell.ai/cdpo.pdf, equation 3).
    """
    return _smoothed(beta * (chosen - rejected), label_smoothing)


def ipo_loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Identity preference optimisation (arXiv 2310.12036, equation 17; its τ is `beta`)."""
    return (chosen - rejected - 1 / (2 * beta)).square()


def simpo_loss(
    chosen: Tensor, rejected: Tensor, beta: float, gamma: float, label_smoothing: float = 0.0
) -> Tensor:
    """SimPO (arXiv 2405.14734, equation 6) of average log-probabilities; `gamma` is its margin."""
    return _smoothed(beta * (chosen - rejected) - gamma, label_smoothing)


def orpo_loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """ORPO (arXiv 2403.07691, equation 6; its λ is `beta`) of average log-probabilities.

    The negative log-likelihood is the chosen answer's average too, so that every pair counts alike.
    """
    log_odds = (chosen - log1mexp(chosen)) - (rejected - log1mexp(rejected))
    return -chosen - beta * logsigmoid(log_odds)


def log1mexp(value: Tensor) -> Tensor:
    """Return log(1 - exp(value)) of negative values, without cancellation.

    A probability of one has no finite odds: values are kept below zero by the type's resolution.
    """
    value = value.clamp(max=-torch.finfo(value.dtype).eps)
    # The branch that is not taken must be finite too, or its gradient is 0 x inf.
    near = value > -0.6931471805599453
    small = torch.log(-torch.expm1(torch.where(near, value, -0.5)))
    return torch.where(near, small, torch.log1p(-torch.exp(torch.where(near, -1.0, value))))


def _smoothed(margin: Tensor, label_smoothing: float) -> Tensor:
    right = -logsigmoid(margin)
    if label_smoothing == 0:
        return right
    return (1 - label_smoothing) * right - label_smoothing * logsigmoid(-margin)
