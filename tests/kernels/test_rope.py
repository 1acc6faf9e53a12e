"""The rotary position embedding's kernel against its plain twin, transformers and float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels._rounding import bf16_rounds_to_nearest  # noqa: F401
from kernels.truth import assert_as_good_as_torch
from torch import Tensor
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from marco.kernels.launches import LAUNCHES
from marco.kernels.rope import rope, rope_naive

TYPES = [torch.float32, torch.bfloat16, torch.float16]
Rope = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def leaf(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


def tables(
    batch: int, length: int, head_dim: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """cos and sin as transformers makes them, of positions that begin elsewhere in each row."""
    positions = torch.arange(length) + 1000 * torch.arange(batch)[:, None]
    frequencies = 1e4 ** -(torch.arange(0, head_dim, 2) / head_dim)
    angles = (positions[..., None] * frequencies).repeat(1, 1, 2)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def inputs(
    batch: int,
    length: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    q = leaf(batch, length, heads, head_dim, dtype=dtype)
    k = leaf(batch, length, kv_heads, head_dim, dtype=dtype, seed=1)
    return [q, k, *tables(batch, length, head_dim, dtype)]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 14, 2, 64),
        (2, 33, 14, 2, 64),
        (2, 9, 28, 4, 128),
        (1, 7, 64, 8, 128),
        (3, 5, 3, 1, 6),
    ],
)
def test_as_good_as_torch(shape: tuple[int, int, int, int, int], dtype: torch.dtype) -> None:
    assert_as_good_as_torch(rope, rope_naive, inputs(*shape, dtype=dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_the_twin_is_transformers(dtype: torch.dtype) -> None:
    q, k, cos, sin = inputs(2, 9, 6, 2, 32, dtype)
    theirs = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2)
    for made, expected in zip(rope_naive(q, k, cos, sin), theirs, strict=True):
        assert torch.equal(made, expected)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("table_type", TYPES)
def test_tables_of_any_type_and_of_one_row_for_all(
    dtype: torch.dtype, table_type: torch.dtype
) -> None:
    q, k, *_ = inputs(3, 10, 4, 2, 16, dtype)
    cos, sin = tables(1, 10, 16, table_type)
    assert rope(q, k, cos, sin)[0].dtype == dtype
    assert_as_good_as_torch(rope, rope_naive, [q, k, cos, sin])


def test_only_one_table_of_one_row() -> None:
    q, k, cos, sin = inputs(3, 10, 4, 2, 16)
    assert_as_good_as_torch(rope, rope_naive, [q, k, cos[:1], sin])


@pytest.mark.parametrize("dtype", TYPES)
def test_transposed_views(dtype: torch.dtype) -> None:
    def viewed(op: Rope) -> Rope:
        return lambda q, k, cos, sin: op(q.transpose(1, 2), k.transpose(1, 2), cos, sin)

    q, k = leaf(2, 6, 11, 32, dtype=dtype), leaf(2, 2, 11, 32, dtype=dtype, seed=1)
    made = viewed(rope)(q, k, *tables(2, 11, 32, dtype))
    assert all(y.is_contiguous() and y.shape[:2] == (2, 11) for y in made)
    assert_as_good_as_torch(viewed(rope), viewed(rope_naive), [q, k, *tables(2, 11, 32, dtype)])


def test_slices_of_a_fused_product() -> None:
    def sliced(op: Rope) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        return lambda qkv, cos, sin: op(qkv[:, :, :6], qkv[:, :, 6:8], cos, sin)

    qkv = leaf(2, 7, 10, 24, dtype=torch.bfloat16)
    cos, sin = tables(2, 7, 24, torch.bfloat16)
    assert_as_good_as_torch(sliced(rope), sliced(rope_naive), [qkv, cos, sin])


def test_any_strides_of_everything() -> None:
    def turned(op: Rope) -> Rope:
        return lambda q, k, cos, sin: op(
            q.permute(3, 1, 2, 0), k[..., ::2], cos[..., ::2], sin[:, ::2]
        )

    q, k = leaf(8, 5, 3, 2), leaf(2, 5, 2, 16, seed=1)
    cos, sin = tables(2, 5, 16)[0], tables(2, 10, 8)[1]
    assert_as_good_as_torch(turned(rope), turned(rope_naive), [q, k, cos, sin])


def test_gradients_of_any_strides() -> None:
    q, k, cos, sin = inputs(2, 5, 4, 2, 8)

    def grads(op: Rope) -> tuple[Tensor, ...]:
        q_out, k_out = op(q, k, cos, sin)
        dq, dk = leaf(8, 4, 5, 2, seed=3).permute(3, 2, 1, 0), torch.ones(1).expand(k.shape)
        return torch.autograd.grad([q_out, k_out], [q, k], [dq.detach(), dk])

    torch.testing.assert_close(grads(rope), grads(rope_naive))


def test_the_backward_undoes_the_rotation() -> None:
    q, k, cos, sin = inputs(2, 5, 4, 2, 8)
    rotated = rope(q, k, cos, sin)
    back = torch.autograd.grad(rotated, [q, k], [y.detach() for y in rotated])
    torch.testing.assert_close(list(back), [q, k])


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 17),
    kv_heads=st.integers(1, 4),
    group=st.integers(1, 5),
    half=st.integers(1, 50),
    dtype=st.sampled_from(TYPES),
)
def test_any_shape(
    batch: int, length: int, kv_heads: int, group: int, half: int, dtype: torch.dtype
) -> None:
    shape = (batch, length, kv_heads * group, kv_heads, 2 * half)
    assert_as_good_as_torch(rope, rope_naive, inputs(*shape, dtype=dtype))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_a_number_stays_in_its_pair(value: float) -> None:
    q, k, cos, sin = inputs(1, 4, 2, 1, 8)
    with torch.no_grad():
        q[0, 1, 1, 2] = value
        k[0, 3, 0, 7] = value
    made, expected = rope(q, k, cos, sin), rope_naive(q, k, cos, sin)
    torch.testing.assert_close(made, expected, equal_nan=True)
    assert int((~made[0].isfinite()).sum()) == 2


def test_no_tokens() -> None:
    q, k, cos, sin = inputs(2, 0, 4, 2, 8)
    before = LAUNCHES.copy()
    q_out, k_out = rope(q, k, cos, sin)
    (q_out.sum() + k_out.sum()).backward()
    assert q_out.shape == q.shape
    assert k_out.shape == k.shape
    assert k.grad is not None
    assert before == LAUNCHES


def test_one_launch_each_way_for_queries_and_keys() -> None:
    before = LAUNCHES.copy()
    q_out, k_out = rope(*inputs(2, 3, 4, 2, 8))
    assert LAUNCHES - before == {"rope_fwd_kernel": 1}
    (q_out.sum() + k_out.sum()).backward()
    assert LAUNCHES - before == {"rope_fwd_kernel": 1, "rope_bwd_kernel": 1}


def test_cos_and_sin_alone_are_kept_and_get_no_gradient() -> None:
    q, k, cos, sin = inputs(2, 3, 4, 2, 8)
    cos.requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        q_out, _ = rope(q, k, cos, sin)
    assert [t.data_ptr() for t in kept] == [cos.data_ptr(), sin.data_ptr()]
    q_out.sum().backward()
    assert cos.grad is None


@pytest.mark.parametrize("length", [0, 5])
def test_the_custom_op_is_sound(length: int) -> None:
    q, k, cos, sin = inputs(2, length, 4, 2, 8, torch.bfloat16)
    q = q.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    for inverse in (False, True):
        torch.library.opcheck(torch.ops.marco.rope.default, (q, k, cos, sin, inverse))


def test_torch_compile_traces_through_both_ways() -> None:
    q, k, cos, sin = inputs(2, 5, 4, 2, 8)
    compiled = torch.compile(rope, fullgraph=True, backend="aot_eager")

    def grads(op: Rope) -> tuple[Tensor, ...]:
        q_out, k_out = op(q, k, cos, sin)
        return torch.autograd.grad(q_out.pow(3).sum() + k_out.pow(3).sum(), [q, k])

    assert all(torch.equal(a, b) for a, b in zip(grads(compiled), grads(rope), strict=True))


def test_wrong_inputs_are_named() -> None:
    q, k, cos, sin = inputs(2, 5, 4, 2, 8)
    with pytest.raises(ValueError, match="differ in heads only"):
        rope(q, k[:, :4], cos, sin)
    with pytest.raises(ValueError, match="head_dim must be even; it is 7"):
        rope(q[..., :7], k[..., :7], cos, sin)
    with pytest.raises(ValueError, match=r"sin must be \[2 or 1, 5, 8\]; it is \[2, 5, 4\]"):
        rope(q, k, cos, sin[..., :4])
    with pytest.raises(ValueError, match="q has 4 heads and k 0"):
        rope(q, k[:, :, :0], cos, sin)
    with pytest.raises(TypeError, match=r"cos is torch.float64"):
        rope(q, k, cos.double(), sin)
