"""Holding an op against float64: outputs and every gradient, beside torch's own error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from kernels.tolerances import FACTOR, TOLERANCES
from torch import Tensor

Op = Callable[..., Any]


def outputs_and_gradients(op: Op, inputs: Sequence[Tensor], seed: int = 0) -> list[Tensor]:
    """Floating-point outputs of `op(*inputs)`, then the gradients of inputs that want them.

    The incoming gradients are the same numbers, whatever the type of the inputs.
    """
    leaves = [x.detach().requires_grad_(x.requires_grad) for x in inputs]
    made = op(*leaves)
    outputs = [made] if isinstance(made, Tensor) else list(made)
    outputs = [y for y in outputs if y.is_floating_point()]
    generator = torch.Generator().manual_seed(seed)
    incoming = [
        torch.randn(y.shape, generator=generator, dtype=torch.float64).to(torch.bfloat16).to(y)
        for y in outputs
    ]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    differentiable = [(y, g) for y, g in zip(outputs, incoming, strict=True) if y.requires_grad]
    gradients = torch.autograd.grad(
        [y for y, _ in differentiable], wanted, [g for _, g in differentiable]
    )
    return [y.detach() for y in outputs] + list(gradients)


def assert_as_good_as_torch(ours: Op, naive: Op, inputs: Sequence[Tensor]) -> None:
    """`ours` is no further from the float64 truth than `naive` in the inputs' own type.

    `inputs` are leaves (requires_grad set where gradients are to be compared); those of integer
    type are passed as they are. The type of the first floating-point input picks the tolerance.
    """
    dtype = next(x.dtype for x in inputs if x.is_floating_point())
    doubled = [
        x.detach().double().requires_grad_(x.requires_grad) if x.is_floating_point() else x
        for x in inputs
    ]
    truths = outputs_and_gradients(naive, doubled)
    torchs = outputs_and_gradients(naive, inputs)
    mine = outputs_and_gradients(ours, inputs)
    assert len(mine) == len(truths)
    for number, (our, theirs, truth) in enumerate(zip(mine, torchs, truths, strict=True)):
        assert our.shape == truth.shape, number
        assert our.dtype == theirs.dtype, number
        if truth.numel() == 0:
            continue
        limit = FACTOR * float((theirs.double() - truth).abs().max())
        limit += TOLERANCES[dtype] * float(truth.abs().max())
        error = float((our.double() - truth).abs().max())
        assert error <= limit, f"tensor {number}: error {error:.3g}, allowed {limit:.3g}"
