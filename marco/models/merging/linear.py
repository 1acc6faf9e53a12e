"""The weighted mean of models ("model soups", arXiv 2203.05482)."""

from __future__ import annotations

import torch
from torch import Tensor

from marco.models.merging.passes import Combine, How, Pass


def linear(pieces: Pass, how: How) -> Combine:
    """Σ wᵢ xᵢ, over Σ wᵢ where normalised."""

    def combine(models: list[Tensor]) -> Tensor:
        result = torch.zeros_like(models[0])
        for weight, tensor in zip(how.weights, models, strict=True):
            result.add_(tensor, alpha=weight)
        return result.div_(sum(how.weights)) if how.normalise else result

    return combine
