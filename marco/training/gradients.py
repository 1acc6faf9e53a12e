"""The global norm of a gradient, right on one device and on any mesh of shards."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The gradients that are there."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def global_norm(gradients: Iterable[Tensor]) -> Tensor:
    """Two-norm over all gradients; a plain fp32 scalar, equal on every rank.

    Gradients on one mesh (FSDP2), on several (FSDP2 with tensor parallelism) and plain ones may be
    mixed: norms are taken per mesh and placement, made whole, and only then combined, since
    torch's own `clip_grad_norm_` refuses a mixture.
    """
    kinds: dict[object, list[Tensor]] = {}
    for gradient in gradients:
        key = (
            (gradient.device_mesh, tuple(gradient.placements))
            if isinstance(gradient, DTensor)
            else None
        )
        kinds.setdefault(key, []).append(gradient)
    norms = []
    for members in kinds.values():
        each = [torch.linalg.vector_norm(gradient.float()) for gradient in members]
        norm = torch.linalg.vector_norm(torch.stack(each))
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


@torch.no_grad()
def scale_gradients(gradients: Iterable[Tensor], norm: Tensor, largest: float) -> None:
    """Scale gradients in place so that their global norm is at most `largest`."""
    factor = torch.clamp(largest / (norm + 1e-6), max=1.0)
    for gradient in gradients:
        local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        local.mul_(factor.to(local.device))  # in fp32, whatever the gradient's type
