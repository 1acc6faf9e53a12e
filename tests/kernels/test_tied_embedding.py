"""The embedding's gradient, added into the head's, is that of plain autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kernels.test_torch_path import TYPES
from kernels.truth import assert_as_good_as_torch
from torch import Tensor
from torch.nn import functional

from marco.kernels.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_naive,
)
from marco.kernels.torch_path.embedding import Tie, embedding

pytestmark = pytest.mark.usefixtures("passes")


class Tied(torch.nn.Module):
    """An embedding, something between, and a head of the same weight."""

    def __init__(self, dtype: torch.dtype, tied: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(23, 8, generator=generator).to(dtype))
        self.between = torch.nn.Parameter(torch.randn(8, 8, generator=generator).to(dtype))
        self.tied = tied

    def forward(self, ids: Tensor, targets: Tensor, upstream: float | None) -> Tensor:
        tie = Tie()
        read = embedding(ids, self.weight, tie) if self.tied else self.weight[ids]
        hidden = (read @ self.between).tanh()
        if not self.tied:
            return linear_cross_entropy_naive(hidden, self.weight, targets)
        return linear_cross_entropy(hidden, self.weight, targets, upstream=upstream, tie=tie)


def tied_inputs() -> tuple[Tensor, Tensor]:
    ids = torch.tensor([3, 3, 0, 22, 22, 5])
    return ids, torch.tensor([3, 0, -100, 5, 7, 22])


@pytest.mark.parametrize("upstream", [0.5, 1.0, None])
def test_tied_gradients_are_those_of_plain_autograd(upstream: float | None) -> None:
    """By the shortcut where `upstream` is right, 0.5, and where it is not."""
    gradients = []
    for tied in (True, False):
        model = Tied(torch.float64, tied)
        for _ in range(2):  # accumulated over two forwards
            (0.5 * model(*tied_inputs(), upstream).sum()).backward()
        gradients.append([model.weight.grad, model.between.grad])
    for x, y in zip(*gradients, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("upstream", [1.0, None])
def test_tied_errors(upstream: float | None, dtype: torch.dtype) -> None:
    ids, targets = tied_inputs()

    def tied(weight: Tensor, between: Tensor) -> Tensor:
        tie = Tie()
        hidden = (embedding(ids, weight, tie) @ between).tanh()
        losses = linear_cross_entropy(hidden, weight, targets, upstream=upstream, tie=tie)
        return losses.sum() * 1.0

    def plain(weight: Tensor, between: Tensor) -> Tensor:
        hidden = (functional.embedding(ids, weight) @ between).tanh()
        return linear_cross_entropy_naive(hidden, weight, targets).sum() * 1.0

    model = Tied(dtype, True)
    assert_as_good_as_torch(tied, plain, [model.weight, model.between])


def test_the_embeddings_gradient_goes_into_the_heads() -> None:
    """Where the head's backward took the shortcut, the embedding hands autograd nothing."""
    model, (ids, targets) = Tied(torch.float32, True), tied_inputs()
    shares: list[Any] = []
    losses = model(ids, targets.clamp(min=0), 1.0)
    node = losses.sum().grad_fn
    while node is not None and "Embedding" not in node.name():
        # Down the first argument: the hidden states.
        node = node.next_functions[0][0]
    assert node is not None
    node.register_hook(lambda made, _: shares.extend(made))
    losses.sum().backward()
    assert shares
    assert all(share is None for share in shares)


def test_what_an_earlier_backward_left_is_not_added_to() -> None:
    """The first backward asks for the hidden state alone, and its head's gradient is dropped."""
    (ids, targets), expected = tied_inputs(), []
    for tied in (True, False):
        model = Tied(torch.float64, tied)
        losses = model(ids, targets, 1.0)
        torch.autograd.grad(losses.sum(), model.between, retain_graph=True)
        losses.sum().backward()
        expected.append(model.weight.grad)
    torch.testing.assert_close(*expected, rtol=1e-12, atol=1e-12)
