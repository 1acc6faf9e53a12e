"""Ignored tokens in the Triton linear cross-entropy: no cost, no trace, and no number awaited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from kernels.linear_cross_entropy_inputs import EVERYTHING, compare, make
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from marco.kernels import linear_cross_entropy_triton as op
from marco.kernels._counted import counted
from marco.kernels.linear_cross_entropy import linear_cross_entropy
from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton

TYPES = (torch.float32, torch.bfloat16, torch.float16)
IGNORED = -100


@pytest.mark.parametrize(
    ("targets", "places"),
    [([5, -100, 7, -100, -100, 1], [0, 2, 5]), ([-100] * 3, []), ([0, 1], [0, 1])],
)
def test_places(targets: list[int], places: list[int]) -> None:
    found = counted(torch.tensor(targets), IGNORED)
    assert found is not None
    assert found.number.tolist() == [len(places)]
    assert found.place[: len(places)].tolist() == places
    assert found.place.shape == found.mask.shape == (len(targets),)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=str)
def test_losses_and_gradients(options: dict[str, Any], dtype: torch.dtype) -> None:
    """More than a tile of tokens takes part, and whole tiles do not."""
    inputs = make(300, 250, 40, dtype, options.get("limit"), ignored=2)
    compare(inputs, backend="triton", **options)


def test_every_target_ignored() -> None:
    hidden, weight, targets = make(130, 200, 16)
    losses = linear_cross_entropy(
        hidden, weight, torch.full_like(targets, IGNORED), backend="triton", z_loss=0.1
    )
    found = torch.autograd.grad(losses.sum(), (hidden, weight))
    for x in (losses, *found):
        assert torch.equal(x, torch.zeros_like(x))


@pytest.mark.parametrize("filter_gradients", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_as_if_they_were_not_there(dtype: torch.dtype, filter_gradients: bool) -> None:
    """To the bit, even where what is ignored, and what arrives for it, is not a number."""
    hidden, weight, targets = make(150, 250, 40, dtype, ignored=3)
    kept = targets != IGNORED
    with torch.no_grad():
        hidden[~kept] = torch.nan
    upstream = torch.linspace(-1, 1, 150).masked_fill(~kept, torch.nan)
    options: dict[str, Any] = {"z_loss": 1e-3, "filter_gradients": filter_gradients}

    def run(hidden: Tensor, targets: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        leaf = hidden.detach().requires_grad_()
        losses = linear_cross_entropy_triton(leaf, weight, targets, ignore_index=IGNORED, **options)
        return losses.detach(), *torch.autograd.grad(losses, (leaf, weight), upstream)

    whole = run(hidden, targets, upstream)
    part = run(hidden[kept], targets[kept], upstream[kept])
    assert torch.equal(whole[0][kept], part[0])
    assert torch.equal(whole[1][kept], part[1])
    assert torch.equal(whole[2], part[2])
    for x in whole[:2]:
        assert torch.equal(x[~kept], torch.zeros_like(x[~kept]))


def test_statistics() -> None:
    hidden, weight, targets = make(70, 250, 16, ignored=4)
    kept = targets != IGNORED
    losses, correct, entropy = linear_cross_entropy_triton(
        hidden, weight, targets, ignore_index=IGNORED, statistics=True
    )
    expected = linear_cross_entropy_triton(hidden[kept], weight, targets[kept], statistics=True)
    for x, y in zip((losses, correct, entropy), expected, strict=True):
        assert torch.equal(x[kept], y)
        assert not x[~kept].any()


class Waits(TorchDispatchMode):
    """Operations that would make the host wait for a GPU."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = str(func)
        assert not any(word in name for word in ("_local_scalar", "nonzero", "equal.")), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("ignore_index", [None, IGNORED])
@pytest.mark.parametrize("dtype", TYPES)
def test_the_host_waits_for_nothing(dtype: torch.dtype, ignore_index: int | None) -> None:
    """So that a CUDA graph can be captured. The functions behind the ops: see `Largest`."""
    inputs = [x.detach() for x in make(40, 300, 16, dtype)]
    options = (1e-3, 0.1, 300, False)
    # Under the interpreter launches run on the host, with tensors' numbers in its hands.
    with Waits():
        counted(inputs[2], ignore_index)
        *_, maximum, log_sum = op._linear_cross_entropy._init_fn(
            *inputs, *options, True, ignore_index
        )
        op._linear_cross_entropy_bwd._init_fn(
            torch.ones(40), *inputs, maximum, log_sum, *options, ignore_index, True, True
        )
