"""Numbers for an op's inputs, of the kind that a model would have in their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

ROPE_THETA = 1_000_000.0


def real(metas: Sequence[Tensor], vocabulary: int, device: torch.device) -> list[Tensor]:
    """Leaves of the shapes and types of `metas` (`bench.kernel_launches`), the same each time.

    Vectors are gains about one, matrices of `vocabulary` rows heads whose logits stay small,
    integers targets, and tensors of three dimensions cosines, then sines; the rest is normal.
    """
    generator = torch.Generator(device).manual_seed(0)
    turns = iter((torch.cos, torch.sin))

    def values(meta: Tensor) -> Tensor:
        if not meta.is_floating_point():
            return torch.randint(vocabulary, meta.shape, generator=generator, device=device)
        if meta.ndim == 3:
            return next(turns)(_angles(meta.shape[1], meta.shape[2], device))
        x = torch.randn(meta.shape, generator=generator, device=device)
        if meta.ndim == 1:
            return 1 + 0.1 * x
        return x / meta.shape[1] ** 0.5 if meta.shape[0] == vocabulary else x

    return [values(meta).to(meta.dtype).requires_grad_(meta.requires_grad) for meta in metas]


def _angles(length: int, width: int, device: torch.device) -> Tensor:
    """[1, length, width], both halves equal."""
    powers = torch.arange(0, width, 2, device=device) / width
    half = torch.arange(length, device=device)[:, None] / ROPE_THETA**powers
    return torch.cat([half, half], 1)[None]


def copied(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Leaves of their own: some of Liger's ops write into what they are given."""
    return [x.detach().clone().requires_grad_(x.requires_grad) for x in inputs]


def outputs_of(made: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """The floating-point outputs of an op."""
    return [y for y in ([made] if isinstance(made, Tensor) else made) if y.is_floating_point()]


def incoming(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Gradients for outputs, the same numbers in every type; for a loss, one."""
    device = outputs[0].device
    generator = torch.Generator(device).manual_seed(1)

    def values(y: Tensor) -> Tensor:
        if y.ndim == 0:
            return torch.ones_like(y)
        return torch.randn(y.shape, generator=generator, device=device).bfloat16().to(y.dtype)

    return [values(y) for y in outputs]


def packed_positions(rows: int, length: int, device: torch.device) -> Tensor:
    """Positions [rows, length] that restart at documents, each an eighth to a half of a row."""
    generator = torch.Generator().manual_seed(2)

    def lengths() -> Iterator[int]:
        left = length
        while left:
            drawn = torch.randint(length // 8, length // 2 + 1, (), generator=generator)
            size = min(left, max(1, int(drawn)))
            yield size
            left -= size

    made = [torch.cat([torch.arange(n) for n in lengths()]) for _ in range(rows)]
    return torch.stack(made).to(device)
