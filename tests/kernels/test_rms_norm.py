"""RMSNorm's kernel against its plain twin and float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels._rounding import bf16_rounds_to_nearest  # noqa: F401
from kernels.truth import assert_as_good_as_torch
from torch import Tensor
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from marco.kernels.launches import LAUNCHES
from marco.kernels.rms_norm import rms_norm, rms_norm_naive

EPS = 1e-6
TYPES = [torch.float32, torch.bfloat16, torch.float16]


def leaf(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 2).to(dtype).requires_grad_()


def ours(x: Tensor, weight: Tensor) -> Tensor:
    return rms_norm(x, weight, EPS)


def naive(x: Tensor, weight: Tensor) -> Tensor:
    return rms_norm_naive(x, weight, EPS)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "shape", [(1, 896), (70, 896), (9, 1536), (5, 3584), (6, 8192), (252, 507), (2, 9, 3, 123)]
)
def test_as_good_as_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, weight = leaf(*shape, dtype=dtype), leaf(shape[-1], dtype=dtype, seed=1)
    assert_as_good_as_torch(ours, naive, [x, weight])


@pytest.mark.parametrize("head_dim", [64, 80, 128])
def test_heads_of_a_query_sliced_from_a_fused_product(head_dim: int) -> None:
    fused = leaf(2, 37, 8, head_dim, dtype=torch.bfloat16)
    weight = leaf(head_dim, dtype=torch.bfloat16, seed=1)
    assert_as_good_as_torch(
        lambda x, w: ours(x[:, :, 1:6], w), lambda x, w: naive(x[:, :, 1:6], w), [fused, weight]
    )


@pytest.mark.parametrize("x_type", TYPES)
@pytest.mark.parametrize("weight_type", TYPES)
def test_types_may_differ(x_type: torch.dtype, weight_type: torch.dtype) -> None:
    x, weight = leaf(33, 96, dtype=x_type), leaf(96, dtype=weight_type, seed=1)
    assert ours(x, weight).dtype == torch.promote_types(x_type, weight_type)
    assert_as_good_as_torch(ours, naive, [x, weight])


@pytest.mark.parametrize("dtype", TYPES)
def test_same_numbers_as_transformers(dtype: torch.dtype) -> None:
    x = leaf(21, 896, dtype=dtype)
    theirs = Qwen2RMSNorm(896, EPS).to(dtype)
    theirs.weight.data = leaf(896, dtype=dtype, seed=1).detach()
    expected = theirs(x)
    torch.testing.assert_close(naive(x, theirs.weight), expected, rtol=0, atol=0)
    made = ours(x, theirs.weight)
    # Another order of summation may move a number to its neighbour, seldom, and no further.
    assert float((made == expected).float().mean()) > (0.5 if dtype == torch.float32 else 0.99)
    torch.testing.assert_close(made, expected, rtol=4 * torch.finfo(dtype).eps, atol=0)


def test_columns_of_another_stride() -> None:
    x, weight = leaf(12, 50), leaf(24, seed=1)
    assert_as_good_as_torch(
        lambda x, w: ours(x.t()[::2], w[::2]).t(),
        lambda x, w: naive(x.t()[::2], w[::2]).t(),
        [x, weight],
    )


@settings(max_examples=12, deadline=None, derandomize=True)
@given(rows=st.integers(1, 150), hidden=st.integers(1, 300), dtype=st.sampled_from(TYPES))
def test_any_shape(rows: int, hidden: int, dtype: torch.dtype) -> None:
    x, weight = leaf(rows, hidden, dtype=dtype), leaf(hidden, dtype=dtype, seed=1)
    assert_as_good_as_torch(ours, naive, [x, weight])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_a_number_stays_in_its_row(value: float) -> None:
    x, weight = leaf(5, 40), leaf(40, seed=1)
    with torch.no_grad():
        x[2, 7] = value
    made, expected = ours(x, weight), naive(x, weight)
    torch.testing.assert_close(made, expected, equal_nan=True)
    assert made[2].isnan().any()
    grads = torch.autograd.grad(made.sum(), [x, weight])
    expected_grads = torch.autograd.grad(expected.sum(), [x, weight])
    for grad, expected_grad in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, expected_grad, equal_nan=True)
    assert grads[0][2].isnan().all()
    assert grads[0][[0, 1, 3, 4]].isfinite().all()


def test_the_twin_keeps_float64() -> None:
    x, weight = leaf(3, 17, dtype=torch.float64), leaf(17, dtype=torch.float64, seed=1)
    expected = weight * x / (x.square().mean(-1, keepdim=True) + EPS).sqrt()
    torch.testing.assert_close(naive(x, weight), expected, rtol=1e-14, atol=0)


def test_no_rows() -> None:
    x, weight = leaf(2, 0, 64), leaf(64)
    before = LAUNCHES.copy()
    y = ours(x, weight)
    y.sum().backward()
    assert y.shape == (2, 0, 64)
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.zeros(64))
    assert before == LAUNCHES


def test_one_launch_each_way() -> None:
    x, weight = leaf(40, 128), leaf(128)
    before = LAUNCHES.copy()
    y = ours(x, weight)
    assert LAUNCHES - before == {"rms_norm_fwd_kernel": 1}
    y.sum().backward()
    assert LAUNCHES - before == {"rms_norm_fwd_kernel": 1, "rms_norm_bwd_kernel": 1}


def test_kept_for_the_backward_are_x_and_weight_alone() -> None:
    x, weight = leaf(40, 128, dtype=torch.bfloat16), leaf(128, dtype=torch.bfloat16)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        ours(x, weight)
    assert {t.data_ptr() for t in kept} == {x.data_ptr(), weight.data_ptr()}


@pytest.mark.parametrize("shape", [(5, 33), (2, 3, 4, 16), (0, 8)])
def test_the_custom_ops_are_sound(shape: tuple[int, ...]) -> None:
    x, weight = leaf(*shape, dtype=torch.bfloat16), leaf(shape[-1])
    torch.library.opcheck(torch.ops.marco.rms_norm.default, (x, weight, EPS))
    inputs = (torch.rand(shape), x.detach(), weight.detach(), 1e-6)
    torch.library.opcheck(torch.ops.marco.rms_norm_backward.default, inputs)


def test_torch_compile_traces_through_both_ways() -> None:
    x, weight = leaf(5, 33), leaf(33)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    grads = torch.autograd.grad(compiled(x, weight).square().sum(), [x, weight])
    expected = torch.autograd.grad(ours(x, weight).square().sum(), [x, weight])
    assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(ValueError, match=r"x \[3, 8\].*weight is \[7\]"):
        ours(leaf(3, 8), leaf(7))
    with pytest.raises(TypeError, match=r"weight is torch.float64"):
        ours(leaf(3, 8), leaf(8, dtype=torch.float64))
