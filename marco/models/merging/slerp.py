"""Spherical interpolation between two models, each tensor taken as one long vector."""

from __future__ import annotations

import math

import torch

from marco.models.merging.passes import Combine, How, Pass

#: Beyond this cosine the vectors are as good as parallel, sin θ is lost to rounding, and the way
#: between them is taken straight; mergekit has the same.
PARALLEL = 0.9995
_NOTHING = 1e-8


def slerp(pieces: Pass, how: How) -> Combine:
    """sin((1−t)θ)/sin θ · x₀ + sin(tθ)/sin θ · x₁, θ the angle between them (Shoemake 1985)."""
    (t,) = how.weights
    first, second = _coefficients(t, _cosine(pieces))
    return lambda models: (models[0] * first).add_(models[1], alpha=second)


def _cosine(pieces: Pass) -> float:
    products = torch.zeros(3, dtype=torch.float64)
    for one, other in pieces():
        a, b = one.flatten().double(), other.flatten().double()
        products += torch.stack([a @ a, b @ b, a @ b])
    aa, bb, ab = map(float, products)
    lengths = [length if length > _NOTHING else 1.0 for length in (math.sqrt(aa), math.sqrt(bb))]
    return max(-1.0, min(1.0, ab / (lengths[0] * lengths[1])))


def _coefficients(t: float, cosine: float) -> tuple[float, float]:
    if abs(cosine) > PARALLEL:
        return 1 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
