"""SwiGLU's kernels against their plain twin and float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels._rounding import bf16_rounds_to_nearest  # noqa: F401
from kernels.truth import assert_as_good_as_torch
from torch import Tensor

from marco.kernels import swiglu as module
from marco.kernels.launches import LAUNCHES
from marco.kernels.swiglu import swiglu, swiglu_naive

TYPES = [torch.float32, torch.bfloat16, torch.float16]


def leaf(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 2).to(dtype).requires_grad_()


def leaves(*shape: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [leaf(*shape, dtype=dtype), leaf(*shape, dtype=dtype, seed=1)]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "shape", [(1, 4864), (9, 1024), (3, 8960), (2, 18944), (252, 507), (2, 5, 123), (7,), (6, 1)]
)
def test_as_good_as_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert_as_good_as_torch(swiglu, swiglu_naive, leaves(*shape, dtype=dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_halves_of_a_fused_product_are_read_in_place(dtype: torch.dtype) -> None:
    fused = leaf(2, 9, 2 * 700, dtype=dtype)
    up = fused.chunk(2, dim=-1)[1]
    rows = module._rows(up)
    assert rows.data_ptr() == up.data_ptr()
    assert rows.stride() == (1400, 1)
    assert_as_good_as_torch(
        lambda x: swiglu(*x.chunk(2, dim=-1)), lambda x: swiglu_naive(*x.chunk(2, dim=-1)), [fused]
    )


def test_columns_of_another_stride() -> None:
    inputs = leaves(3, 20, 30)
    assert_as_good_as_torch(
        lambda gate, up: swiglu(gate.transpose(0, 2), up.transpose(0, 2)).transpose(0, 1),
        lambda gate, up: swiglu_naive(gate.transpose(0, 2), up.transpose(0, 2)).transpose(0, 1),
        inputs,
    )
    assert_as_good_as_torch(
        lambda gate, up: swiglu(gate[..., ::3], up[..., 1::3]),
        lambda gate, up: swiglu_naive(gate[..., ::3], up[..., 1::3]),
        inputs,
    )


@pytest.mark.parametrize("incoming", ["scalar", "one row", "half"])
def test_gradients_of_any_stride(incoming: str) -> None:
    gate, up = leaves(4, 50)
    dy = {
        "scalar": torch.ones(()).expand(4, 50),
        "one row": leaf(50, seed=2).detach().expand(4, 50),
        "half": leaf(4, 100, seed=2).detach()[:, 50:],
    }[incoming]
    grads = torch.autograd.grad(swiglu(gate, up), [gate, up], dy)
    expected = torch.autograd.grad(swiglu_naive(gate, up), [gate, up], dy)
    torch.testing.assert_close(grads, expected)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(rows=st.integers(1, 40), columns=st.integers(1, 2500), dtype=st.sampled_from(TYPES))
def test_any_shape(rows: int, columns: int, dtype: torch.dtype) -> None:
    assert_as_good_as_torch(swiglu, swiglu_naive, leaves(rows, columns, dtype=dtype))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e4, -1e4])
@pytest.mark.parametrize("place", [0, 1])
def test_extremes_are_torchs(value: float, place: int) -> None:
    inputs = leaves(3, 40)
    with torch.no_grad():
        inputs[place][1, 7] = value
    made, expected = swiglu(*inputs), swiglu_naive(*inputs)
    torch.testing.assert_close(made, expected, equal_nan=True)
    torch.testing.assert_close(
        torch.autograd.grad(made.sum(), inputs),
        torch.autograd.grad(expected.sum(), inputs),
        equal_nan=True,
    )


def test_no_rows() -> None:
    gate, up = leaves(0, 64)
    before = LAUNCHES.copy()
    y = swiglu(gate, up)
    y.sum().backward()
    assert y.shape == (0, 64)
    assert up.grad is not None
    assert up.grad.shape == up.shape
    assert before == LAUNCHES


def test_one_launch_each_way() -> None:
    before = LAUNCHES.copy()
    y = swiglu(*leaves(3, 2100))
    assert LAUNCHES - before == {"swiglu_fwd_kernel": 1}
    y.sum().backward()
    assert LAUNCHES - before == {"swiglu_fwd_kernel": 1, "swiglu_bwd_kernel": 1}


def test_gate_and_up_alone_are_kept_for_the_backward() -> None:
    inputs = leaves(3, 40)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        swiglu(*inputs)
    assert [t.data_ptr() for t in kept] == [t.data_ptr() for t in inputs]


@pytest.mark.parametrize("shape", [(5, 33), (0, 8)])
def test_the_custom_ops_are_sound(shape: tuple[int, ...]) -> None:
    gate, up = leaves(*shape, dtype=torch.bfloat16)
    torch.library.opcheck(torch.ops.marco.swiglu.default, (gate, up))
    inputs = (torch.rand(shape).bfloat16(), gate.detach(), up.detach())
    torch.library.opcheck(torch.ops.marco.swiglu_backward.default, inputs)


def test_torch_compile_traces_through_both_ways() -> None:
    inputs = leaves(5, 33)
    compiled = torch.compile(swiglu, fullgraph=True, backend="aot_eager")
    grads = torch.autograd.grad(compiled(*inputs).square().sum(), inputs)
    expected = torch.autograd.grad(swiglu(*inputs).square().sum(), inputs)
    assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(ValueError, match=r"\[3, 8\] and \[3, 7\]"):
        swiglu(leaf(3, 8), leaf(3, 7))
    with pytest.raises(TypeError, match=r"up is torch.float64"):
        swiglu(leaf(3, 8), leaf(3, 8, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"gate is torch.float32 and up is torch.float16"):
        swiglu(leaf(3, 8), leaf(3, 8, dtype=torch.float16))
