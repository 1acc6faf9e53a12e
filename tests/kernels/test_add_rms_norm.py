"""The residual sum with its RMSNorm, in one pass, against its plain twin and float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels._rounding import bf16_rounds_to_nearest  # noqa: F401
from kernels.truth import assert_as_good_as_torch
from torch import Tensor

from marco.kernels.add_rms_norm import add_rms_norm, add_rms_norm_naive
from marco.kernels.launches import LAUNCHES
from marco.kernels.rms_norm import rms_norm

EPS = 1e-6
TYPES = [torch.float32, torch.bfloat16, torch.float16]


def leaf(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 2).to(dtype).requires_grad_()


def leaves(*shape: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    x, residual = leaf(*shape, dtype=dtype), leaf(*shape, dtype=dtype, seed=1)
    return [x, residual, leaf(shape[-1], dtype=dtype, seed=2)]


def ours(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return add_rms_norm(x, residual, weight, EPS)


def naive(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return add_rms_norm_naive(x, residual, weight, EPS)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "shape", [(1, 896), (70, 896), (9, 1536), (5, 3584), (6, 8192), (252, 507), (2, 9, 3, 123)]
)
def test_as_good_as_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert_as_good_as_torch(ours, naive, leaves(*shape, dtype=dtype))


@pytest.mark.parametrize("x_type", TYPES)
@pytest.mark.parametrize("residual_type", TYPES)
@pytest.mark.parametrize("weight_type", [torch.float32, torch.bfloat16])
def test_types_may_differ(
    x_type: torch.dtype, residual_type: torch.dtype, weight_type: torch.dtype
) -> None:
    x, residual = leaf(33, 96, dtype=x_type), leaf(33, 96, dtype=residual_type, seed=1)
    assert_as_good_as_torch(ours, naive, [x, residual, leaf(96, dtype=weight_type, seed=2)])


@pytest.mark.parametrize("dtype", TYPES)
def test_the_sum_is_torchs(dtype: torch.dtype) -> None:
    x, residual, weight = leaves(33, 200, dtype=dtype)
    assert torch.equal(ours(x, residual, weight)[1], residual + x)


@pytest.mark.parametrize("dtype", TYPES)
def test_the_norm_is_that_of_the_sum_as_it_is_kept(dtype: torch.dtype) -> None:
    x, residual, weight = leaves(33, 200, dtype=dtype)
    y, summed = ours(x, residual, weight)
    assert torch.equal(y, rms_norm(summed, weight, EPS))


def test_the_norm_alone() -> None:
    inputs = leaves(33, 200)
    assert_as_good_as_torch(lambda *x: ours(*x)[0], lambda *x: naive(*x)[0], inputs)


def test_the_sum_alone_asks_for_no_kernel_backward() -> None:
    x, residual, weight = leaves(33, 200)
    before = LAUNCHES.copy()
    d = leaf(33, 200, seed=3).detach()
    ours(x, residual, weight)[1].backward(d)
    assert LAUNCHES - before == {"add_rms_norm_fwd_kernel": 1}
    assert x.grad is not None
    assert residual.grad is not None
    assert torch.equal(x.grad, d)
    assert torch.equal(residual.grad, d)
    assert weight.grad is None


def test_columns_of_another_stride() -> None:
    inputs = [leaf(12, 50), leaf(12, 50, seed=1), leaf(24, seed=2)]

    def turned(op):  # type: ignore[no-untyped-def]
        return lambda x, r, w: op(x.t()[::2], r.t()[1::2], w[::2])[0].t()

    assert_as_good_as_torch(turned(ours), turned(naive), inputs)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(rows=st.integers(1, 150), hidden=st.integers(1, 300), dtype=st.sampled_from(TYPES))
def test_any_shape(rows: int, hidden: int, dtype: torch.dtype) -> None:
    assert_as_good_as_torch(ours, naive, leaves(rows, hidden, dtype=dtype))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_not_a_number_stays_in_its_row(value: float, place: int) -> None:
    inputs = leaves(5, 40)
    with torch.no_grad():
        inputs[place][2, 7] = value
    made, expected = ours(*inputs), naive(*inputs)
    torch.testing.assert_close(made, expected, equal_nan=True)
    assert not made[0][2].isfinite().all()
    grads = torch.autograd.grad(sum(y.sum() for y in made), inputs)
    torch.testing.assert_close(
        grads, torch.autograd.grad(sum(y.sum() for y in expected), inputs), equal_nan=True
    )
    assert grads[0][2].isnan().all()
    assert grads[0][[0, 1, 3, 4]].isfinite().all()


def test_no_rows() -> None:
    x, residual, weight = leaves(2, 0, 64)
    before = LAUNCHES.copy()
    y, summed = ours(x, residual, weight)
    (y.sum() + summed.sum()).backward()
    assert y.shape == summed.shape == (2, 0, 64)
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.zeros(64))
    assert before == LAUNCHES


def test_one_launch_each_way() -> None:
    before = LAUNCHES.copy()
    y, summed = ours(*leaves(40, 128))
    assert LAUNCHES - before == {"add_rms_norm_fwd_kernel": 1}
    (y.sum() + summed.sum()).backward()
    assert LAUNCHES - before == {"add_rms_norm_fwd_kernel": 1, "add_rms_norm_bwd_kernel": 1}


def test_kept_for_the_backward_are_the_sum_and_weight_alone() -> None:
    inputs = leaves(40, 128, dtype=torch.bfloat16)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        _, summed = ours(*inputs)
    assert {t.data_ptr() for t in kept} == {summed.data_ptr(), inputs[2].data_ptr()}


@pytest.mark.parametrize("shape", [(5, 33), (0, 8)])
def test_the_custom_ops_are_sound(shape: tuple[int, ...]) -> None:
    x, residual, weight = leaves(*shape, dtype=torch.bfloat16)
    torch.library.opcheck(torch.ops.marco.add_rms_norm.default, (x, residual, weight, EPS))
    for dsummed in (None, torch.rand(shape)):
        inputs = (torch.rand(shape), dsummed, x.detach(), weight.detach(), 1e-6)
        torch.library.opcheck(torch.ops.marco.add_rms_norm_backward.default, inputs)


def test_torch_compile_traces_through_both_ways() -> None:
    inputs = leaves(5, 33)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")

    def grads(op) -> tuple[Tensor, ...]:  # type: ignore[no-untyped-def]
        y, summed = op(*inputs)
        return torch.autograd.grad(y.square().sum() + summed.sum(), inputs)

    assert all(torch.equal(a, b) for a, b in zip(grads(compiled), grads(ours), strict=True))


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(ValueError, match=r"weight is \[7\]"):
        ours(leaf(3, 8), leaf(3, 8), leaf(7))
    with pytest.raises(ValueError, match=r"residual \[1, 8\] differ"):
        ours(leaf(3, 8), leaf(1, 8), leaf(8))
    with pytest.raises(TypeError, match=r"residual is torch.float64"):
        ours(leaf(3, 8), leaf(3, 8, dtype=torch.float64), leaf(8))
