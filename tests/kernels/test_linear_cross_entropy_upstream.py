"""Gradients made in the forward, where the factor is known, change nothing and save a pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from kernels.linear_cross_entropy_inputs import make
from kernels.test_torch_path import TYPES
from kernels.truth import assert_as_good_as_torch
from torch import Tensor

from marco.kernels.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_naive,
)
from marco.kernels.torch_path import linear_cross_entropy as torch_path

pytestmark = pytest.mark.usefixtures("passes")
Upstream = Callable[[Tensor], Tensor]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every pass over the logits, whether it made gradients."""
    made: list[bool] = []
    run = torch_path._run

    def counted(*args: Any) -> Any:
        made.append(args[-1] is not None)
        return run(*args)

    monkeypatch.setattr(torch_path, "_run", counted)
    return made


@pytest.mark.parametrize(
    ("weigh", "known", "expected_runs"),
    [
        (lambda x: x.sum() * 0.25, 0.25, [True]),
        (lambda x: x.mean(), 1 / 40, [True]),
        (lambda x: x.sum() * 0.25, 0.5, [True, True]),
        (lambda x: (x * torch.linspace(-1, 1, 40)).sum(), 1.0, [True, True]),
        (lambda x: x.sum() * 0.25, None, [False, True]),
    ],
    ids=["right", "right mean", "wrong", "by token", "unknown"],
)
@pytest.mark.parametrize("dtype", TYPES)
def test_upstream(
    weigh: Upstream,
    known: float | None,
    expected_runs: list[bool],
    dtype: torch.dtype,
    runs: list[bool],
) -> None:
    """Known or not, right or wrong, it never changes a result; right, it saves a pass."""
    hidden, weight, targets = make(40, 200, 32, dtype)
    options = {"z_loss": 1e-2, "label_smoothing": 0.1}

    def gradients(upstream: float | None) -> tuple[Tensor, ...]:
        losses = linear_cross_entropy(hidden, weight, targets, upstream=upstream, **options)
        return losses.detach(), *torch.autograd.grad(weigh(losses), (hidden, weight))

    found = gradients(known)
    assert runs == expected_runs
    for x, y in zip(found, gradients(None), strict=True):
        assert torch.equal(x, y)
    assert_as_good_as_torch(
        lambda *x: weigh(linear_cross_entropy(*x, upstream=known, **options)),
        lambda *x: weigh(linear_cross_entropy_naive(*x, **options)),
        (hidden, weight, targets),
    )


@pytest.mark.parametrize("upstream", [None, 0.5, 1.0])
def test_twice_through_a_retained_graph(upstream: float | None) -> None:
    hidden, weight, targets = make(40, 200, 32)
    total = linear_cross_entropy(hidden, weight, targets, upstream=upstream).sum()
    once = torch.autograd.grad(total, (hidden, weight), retain_graph=True)
    kept = [x.clone() for x in once]
    twice = torch.autograd.grad(total, (hidden, weight))
    for first, copy, second in zip(once, kept, twice, strict=True):
        assert torch.equal(first, copy)
        assert torch.equal(first, second)
        assert first.data_ptr() != second.data_ptr()


def test_no_gradients_are_made_where_none_are_wanted(runs: list[bool]) -> None:
    hidden, weight, targets = make(5, 30, 16)
    with torch.no_grad():
        linear_cross_entropy(hidden, weight, targets, upstream=1.0)
    linear_cross_entropy(hidden.detach(), weight.detach(), targets, upstream=1.0)
    assert runs == [False, False]
