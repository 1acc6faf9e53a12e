"""The arithmetic against closed forms in float64 and cases worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from marco.models.merging.methods import METHODS, Name
from marco.models.merging.passes import How

ROWS = 5  # of a piece: no divisor of what is merged


def merge(
    method: Name,
    tensors: list[Tensor],
    weights: tuple[float, ...] = (1.0,),
    *,
    density: float = 1.0,
    normalise: bool | None = None,
    scale: float = 1.0,
    rescale: str = "l1",
    seeds: tuple[int, ...] = (1, 2, 3),
    rows: int = ROWS,
) -> Tensor:
    """Merge in pieces, the base first where there is one."""
    of = METHODS[method]
    models = len(tensors) - of.base
    how = How(
        weights,
        (density,) * models,
        of.normalise if normalise is None else normalise,
        scale,
        rescale,  # type: ignore[arg-type]
        seeds[:models],
        tensors[0].numel(),
    )

    def pieces() -> Iterator[list[Tensor]]:
        for start in range(0, len(tensors[0]), rows):
            yield [tensor[start : start + rows] for tensor in tensors]

    before = [tensor.clone() for tensor in tensors]
    combine = of.prepare(pieces, how)
    merged = torch.cat([combine(models) for models in pieces()])
    assert all(torch.equal(one, other) for one, other in zip(before, tensors, strict=True))
    return merged


def draw(count: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(shape, generator=generator)
    return [base, *(base + 0.1 * torch.randn(shape, generator=generator) for _ in range(count - 1))]


def same(found: Tensor, wanted: Tensor) -> None:
    assert wanted.dtype == torch.float64
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("normalise", [True, False])
def test_linear(normalise: bool) -> None:
    models = draw(3, 13, 7)
    a, b, c = (tensor.double() for tensor in models)
    wanted = (0.2 * a + 0.5 * b + 0.7 * c) / (1.4 if normalise else 1.0)
    same(merge("linear", models, (0.2, 0.5, 0.7), normalise=normalise), wanted)


def test_linear_of_a_model_with_itself_is_that_model() -> None:
    (model,) = draw(1, 13, 7)
    assert torch.equal(merge("linear", [model, model], (1.0, 1.0)), model)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_slerp_follows_the_great_circle(t: float) -> None:
    angle = 0.8
    ends = [torch.tensor([2.0, 0.0]), 2 * torch.tensor([math.cos(angle), math.sin(angle)])]
    wanted = 2 * torch.tensor([math.cos(t * angle), math.sin(t * angle)], dtype=torch.float64)
    same(merge("slerp", ends, (t,), rows=1), wanted)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_slerp_between_parallel_vectors_is_straight(sign: float) -> None:
    (vector,) = draw(1, 13, 7)
    wanted = 0.75 * vector.double() + 0.25 * 3 * sign * vector.double()
    same(merge("slerp", [vector, 3 * sign * vector], (0.25,)), wanted)


def test_slerp_from_nothing_is_straight_up_to_sines() -> None:
    """Vectors of no length have no angle: mergekit takes a right one."""
    found = merge("slerp", [torch.zeros(3), torch.ones(3)], (0.5,), rows=1)
    same(found, torch.full((3,), math.sin(math.pi / 4), dtype=torch.float64))


def test_task_arithmetic() -> None:
    models = draw(3, 13, 7)
    base, a, b = (tensor.double() for tensor in models)
    found = merge("task_arithmetic", models, (0.4, -0.9), scale=1.5)
    same(found, base + 1.5 * (0.4 * (a - base) - 0.9 * (b - base)))


def test_the_instruction_residual() -> None:
    models = draw(3, 13, 7)
    base, continued, instruct = (tensor.double() for tensor in models)
    found = merge("instruction_residual", models, (0.6,))
    same(found, continued + 0.6 * (instruct - base))


def test_the_residual_of_an_untouched_base_is_the_instruct_model() -> None:
    base, instruct = (torch.tensor(values) for values in ([1.0, 2.0, 3.0], [1.5, 1.0, 3.25]))
    found = merge("instruction_residual", [base, base.clone(), instruct])
    assert torch.equal(found, instruct)


def test_ties_by_hand() -> None:
    base = torch.zeros(4)
    one = torch.tensor([4.0, -1.0, 3.0, 0.5])  # keeps 4 and 3
    other = torch.tensor([2.0, 5.0, -4.0, 0.1])  # keeps 5 and -4
    # 4 alone; 5 alone; the sum of 3 and -4 is negative, so -4 alone; nothing
    wanted = torch.tensor([4.0, 5.0, -4.0, 0.0], dtype=torch.float64)
    same(merge("ties", [base, one, other], (1.0, 1.0), density=0.5, rows=1), wanted)
    # with weights 2 and 1: 2·3 against -4 elects plus, and the mean of one value is itself
    wanted = torch.tensor([4.0, 5.0, 3.0, 0.0], dtype=torch.float64)
    same(merge("ties", [base, one, other], (2.0, 1.0), density=0.5, rows=1), wanted)
    # not normalised, the weighted sum of those that agree
    wanted = torch.tensor([8.0, 5.0, 6.0, 0.0], dtype=torch.float64)
    found = merge("ties", [base, one, other], (2.0, 1.0), density=0.5, normalise=False, rows=1)
    same(found, wanted)


@pytest.mark.parametrize("density", [0.001, 0.2, 0.5, 0.99, 1.0])
def test_ties_keeps_as_sorting_would(density: float) -> None:
    base, other = draw(2, 31, 17)
    # Coarse values, so that many are equal: the first of them are kept.
    other = base + ((other - base) * 40).round() / 32
    delta = (other - base).flatten()
    order = torch.argsort(delta.abs(), descending=True, stable=True)
    kept = torch.zeros_like(delta)
    chosen = order[: max(1, int(density * delta.numel()))]
    kept[chosen] = delta[chosen]
    found = merge("ties", [base, other], density=density)
    same(found, base.double() + kept.view_as(base).double())


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
@pytest.mark.parametrize("rescale", ["l1", "density", "none"])
def test_dare_drops_at_random_and_makes_up_for_it(method: Name, rescale: str) -> None:
    base, other = draw(2, 400, 50)
    found = merge(method, [base, other], density=0.3, rescale=rescale)
    delta, change = other - base, (found - base).double()
    kept = change != 0
    assert abs(kept.double().mean().item() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / delta.numel())
    factor = {
        "none": 1.0,
        "density": 1 / 0.3,
        "l1": (delta.abs().double().sum() / delta.abs().double()[kept].sum()).item(),
    }[rescale]
    torch.testing.assert_close(change[kept], factor * delta.double()[kept], rtol=0, atol=1e-6)
    if rescale == "l1":
        assert change.abs().sum().item() == pytest.approx(delta.abs().double().sum().item(), 1e-6)


def test_dare_ties_elects_signs() -> None:
    base = torch.zeros(3)
    models = [torch.tensor([1.0, -1.0, 2.0]), torch.tensor([2.0, 3.0, -1.0])]
    found = merge("dare_ties", [base, *models], (1.0, 1.0), density=1.0, rows=1)
    same(found, torch.tensor([3.0, 3.0, 2.0], dtype=torch.float64))


def test_dare_depends_on_seeds_alone() -> None:
    models = draw(3, 40, 7)
    weights = (0.5, 0.5)
    found = merge("dare_linear", models, weights, density=0.5)
    assert torch.equal(found, merge("dare_linear", models, weights, density=0.5, rows=ROWS + 6))
    other = merge("dare_linear", models, weights, density=0.5, seeds=(1, 4))
    assert not torch.equal(found, other)


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare_linear", "dare_ties"])
def test_models_that_learnt_nothing_leave_the_base(method: Name) -> None:
    (base,) = draw(1, 13, 7)
    assert torch.equal(
        merge(method, [base, base.clone(), base.clone()], (0.5, 0.5), density=0.4), base
    )
