"""The embedding's gradient, added into the head's, is that of plain autograd."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from kernels.test_torch_path import TYPES
from kernels.truth import assert_as_good_as_torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from marco.kernels.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_naive,
)
from marco.kernels.torch_path import linear_cross_entropy as torch_path
from marco.kernels.torch_path.embedding import Tie, embedding

pytestmark = pytest.mark.usefixtures("passes")


class Tied(torch.nn.Module):
    """An embedding, something between, and a head of the same weight."""

    def __init__(self, dtype: torch.dtype, tied: bool, reentrant: bool | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(23, 8, generator=generator).to(dtype))
        self.between = torch.nn.Parameter(torch.randn(8, 8, generator=generator).to(dtype))
        self.tied, self.reentrant = tied, reentrant

    def forward(self, ids: Tensor, targets: Tensor, upstream: float | None) -> Tensor:
        tie = Tie()
        read = embedding(ids, self.weight, tie) if self.tied else self.weight[ids]
        if self.reentrant is None:
            hidden = self.mix(read)
        else:
            hidden = checkpoint(self.mix, read, use_reentrant=self.reentrant)
        if not self.tied:
            return linear_cross_entropy_naive(hidden, self.weight, targets)
        return linear_cross_entropy(hidden, self.weight, targets, upstream=upstream, tie=tie)

    def mix(self, read: Tensor) -> Tensor:
        return (read @ self.between).tanh()


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


Losses = Callable[[], Tensor]


def sum_of_forwards(one: Losses, two: Losses, weight: Tensor) -> None:
    (one() + two()).backward()


def difference_of_forwards(one: Losses, two: Losses, weight: Tensor) -> None:
    (one() - two()).backward()


def forwards_then_backwards(one: Losses, two: Losses, weight: Tensor) -> None:
    losses = one(), two()
    losses[0].backward()
    losses[1].backward()


def forwards_then_backwards_in_reverse(one: Losses, two: Losses, weight: Tensor) -> None:
    losses = one(), two()
    losses[1].backward()
    losses[0].backward()


def penalty_before(one: Losses, two: Losses, weight: Tensor) -> None:
    penalty = weight.square().sum()
    (penalty + one()).backward()


def penalty_after(one: Losses, two: Losses, weight: Tensor) -> None:
    (one() + weight.square().sum()).backward()


def twice_through_one_graph(one: Losses, two: Losses, weight: Tensor) -> None:
    losses = one()
    losses.backward(retain_graph=True)
    losses.backward()


def for_the_hidden_states_alone_first(one: Losses, two: Losses, weight: Tensor) -> None:
    losses, again = one(), two()
    (other,) = [x for x in leaves(losses) if x is not weight]
    torch.autograd.grad(losses, other, retain_graph=True)
    (losses + again).backward()


def as_a_function_of_gradients(one: Losses, two: Losses, weight: Tensor) -> None:
    (weight.grad,) = torch.autograd.grad(one(), weight, create_graph=True)


def leaves(losses: Tensor) -> list[Tensor]:
    """What the graph's gradients are accumulated into."""
    found, nodes = {}, [losses.grad_fn]
    while nodes:
        node = nodes.pop()
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        nodes += [following for following, _ in node.next_functions if following is not None]
    return list(found.values())


USES = [
    sum_of_forwards,
    difference_of_forwards,
    forwards_then_backwards,
    forwards_then_backwards_in_reverse,
    penalty_before,
    penalty_after,
    twice_through_one_graph,
]
# Reentrant checkpointing refuses `torch.autograd.grad`.
NOT_REENTRANT = [for_the_hidden_states_alone_first, as_a_function_of_gradients]


@pytest.mark.parametrize("upstream", [1.0, None])
@pytest.mark.parametrize(
    ("use", "reentrant"),
    [*product(USES, (None, False, True)), *product(NOT_REENTRANT, (None, False))],
)
def test_whatever_else_the_weight_is_used_for(
    use: Callable[[Losses, Losses, Tensor], None], reentrant: bool | None, upstream: float | None
) -> None:
    """Forwards and other uses in one backward or several; checkpointed between, in both ways."""
    ids, targets = tied_inputs()
    others, other_targets = ids.flip(0).add(1).remainder(23), targets.clamp(min=1)
    gradients = []
    for tied in (True, False):
        model = Tied(torch.float64, tied, reentrant)
        use(
            lambda: model(ids, targets, upstream).sum(),  # noqa: B023 - called at once
            lambda: model(others, other_targets, upstream).sum(),  # noqa: B023
            model.weight,
        )
        gradients.append(model.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_two_heads_of_one_reading() -> None:
    ids, targets = tied_inputs()
    gradients = []
    for tied in (True, False):
        weight, tie = Tied(torch.float64, tied).weight, Tie()
        read = embedding(ids, weight, tie) if tied else weight[ids]
        total = torch.zeros((), dtype=torch.float64)
        for hidden in (read.tanh(), read.sin()):
            if tied:
                total += linear_cross_entropy(hidden, weight, targets, upstream=1.0, tie=tie).sum()
            else:
                total += linear_cross_entropy_naive(hidden, weight, targets).sum()
        gradients.append(torch.autograd.grad(total, weight)[0])
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_a_tie_of_another_weight_is_no_tie() -> None:
    ids, targets = tied_inputs()
    table, head = Tied(torch.float64, True).weight, Tied(torch.float64, True).weight
    tie = Tie()
    losses = linear_cross_entropy(
        embedding(ids, table, tie).tanh(), head, targets, upstream=1.0, tie=tie
    )
    found = torch.autograd.grad(losses.sum(), (table, head))
    losses = linear_cross_entropy_naive(table[ids].tanh(), head, targets)
    expected = torch.autograd.grad(losses.sum(), (table, head))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("upstream", [1.0, None])
def test_a_frozen_weight_gets_no_gradient(upstream: float | None) -> None:
    ids, targets = tied_inputs()
    gradients = []
    for tied in (True, False):
        model = Tied(torch.float64, tied)
        model.weight.requires_grad_(False)
        model(ids, targets, upstream).sum().backward()
        assert model.weight.grad is None
        gradients.append(model.between.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("upstream", [1.0, None])
def test_the_heads_gradient_is_the_only_one_of_its_size(
    upstream: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes the parameter's, or is added to it; the embedding makes none of its own."""
    heads: list[int] = []
    others: list[str] = []
    run = torch_path._run

    def watched(*args: Any) -> Any:
        found = run(*args)
        heads.append(found[2].data_ptr())
        return found

    class Watched(TorchDispatchMode):
        """Notes what is new and of the table's size, but for what operations make within."""

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            made = function(*args, **(kwargs or {}))
            known = [x.data_ptr() for x in args if isinstance(x, Tensor)]
            if isinstance(made, Tensor) and made.shape == (23, 8) and made.data_ptr() not in known:
                others.append(str(function))
            return made

    model, (ids, targets) = Tied(torch.float32, True), tied_inputs()
    monkeypatch.setattr(torch_path, "_run", watched)
    losses = model(ids, targets, upstream).sum()
    with Watched():
        losses.backward()
    gradient = model.weight.grad
    assert others == []
    assert heads[-1] == gradient.data_ptr()
    model(ids, targets, upstream).sum().backward()
    assert model.weight.grad.data_ptr() == gradient.data_ptr()
