"""Any implementation of an op against float64, beside torch's own error in the same type.

The rule is that of the kernel tests (`tests/kernels/truth.py`): no output and no gradient may be
further from the truth than 1.1 × torch's, plus a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.op_inputs import copied, incoming, outputs_of

#: As in tests/kernels/tolerances.py: error ≤ FACTOR × torch's + TOLERANCES[type] × max |truth|.
FACTOR = 1.1
TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 1e-3, torch.float16: 1e-4}

Run = Callable[..., Any]


@dataclass(frozen=True)
class Verdict:
    """How one output or gradient compares, all as shares of its largest true value.

    Attributes:
        error: the largest. torch_error: of the plain twin in the same type. allowed: by the rule.
    """

    name: str
    error: float
    torch_error: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether the error is allowed; one that is not a number is not."""
        return self.error <= self.allowed

    @property
    def ratio(self) -> float:
        """To torch's own error."""
        if self.torch_error == 0:
            return 0.0 if self.error == 0 else float("inf")
        return self.error / self.torch_error


class Truth:
    """What an op should give for these inputs, and how near torch comes.

    Args:
        naive: the plain twin, which stays in float64 where it is given it.
        inputs: leaves in the type to be judged.
    """

    def __init__(self, naive: Run, inputs: Sequence[Tensor]) -> None:
        self.inputs = inputs
        self.dtype = next(x.dtype for x in inputs if x.is_floating_point())
        doubled = [
            x.detach().double().requires_grad_(x.requires_grad) if x.is_floating_point() else x
            for x in inputs
        ]
        self.truths = _results(naive, doubled)
        del doubled
        torchs = _results(naive, copied(inputs))
        self.torch_errors = {name: self._error(name, torchs[name]) for name in self.truths}

    def verdicts(self, run: Run) -> list[Verdict]:
        """One for each output and gradient of another implementation.

        Raises:
            ValueError: it gives other tensors than the plain twin does.
        """
        found = _results(run, copied(self.inputs))
        shapes = {name: list(x.shape) for name, x in found.items()}
        wanted = {name: list(x.shape) for name, x in self.truths.items()}
        if shapes != wanted:
            raise ValueError(f"it gives {shapes}, not {wanted}")
        return [
            Verdict(
                name,
                self._error(name, found[name]),
                theirs := self.torch_errors[name],
                FACTOR * theirs + TOLERANCES[self.dtype],
            )
            for name in self.truths
        ]

    def _error(self, name: str, found: Tensor) -> float:
        truth = self.truths[name]
        largest = float(truth.abs().max())
        return float((found.double() - truth).abs().max()) / (largest or 1.0)


def _results(run: Run, leaves: Sequence[Tensor]) -> dict[str, Tensor]:
    """Outputs and gradients of a run, by name. It may write into the leaves."""
    outputs = outputs_of(run(*leaves))
    found = {f"output {number}": y.detach().clone() for number, y in enumerate(outputs)}
    pairs = [(y, dy) for y, dy in zip(outputs, incoming(outputs), strict=True) if y.requires_grad]
    wanted = [(number, leaf) for number, leaf in enumerate(leaves) if leaf.requires_grad]
    gradients = torch.autograd.grad(
        [y for y, _ in pairs], [leaf for _, leaf in wanted], [dy for _, dy in pairs]
    )
    for (number, _), gradient in zip(wanted, gradients, strict=True):
        found[f"gradient {number}"] = gradient
    return found
