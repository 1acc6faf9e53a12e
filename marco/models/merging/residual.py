"""The instruction residual: what instruction tuning added, given to a model trained on."""

from __future__ import annotations

from torch import Tensor

from marco.models.merging.passes import Combine, How, Pass


def instruction_residual(pieces: Pass, how: How) -> Combine:
    """continued + w · (instruct − base), of [base, continued, instruct] (arXiv 2410.10739)."""
    (weight,) = how.weights

    def combine(models: list[Tensor]) -> Tensor:
        base, continued, instruct = models
        return continued.add(instruct - base, alpha=weight)

    return combine
