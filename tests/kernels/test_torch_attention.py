"""Packed attention of the torch path against whole masks in plain torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernels.test_torch_path import TYPES, assert_as_good_under_autocast, leaf, turned
from kernels.truth import Op, assert_as_good_as_torch, outputs_and_gradients
from torch import Tensor

from marco.kernels.torch_path import attention
from marco.kernels.torch_path.attention import Packing, packed_attention

pytestmark = pytest.mark.usefixtures("passes")


def positions(*rows: Sequence[int]) -> Tensor:
    """[rows, length] from the lengths of each row's documents."""
    return torch.stack([torch.cat([torch.arange(n) for n in documents]) for documents in rows])


def naive(q: Tensor, k: Tensor, v: Tensor, ids: Tensor, scale: float, window: int | None) -> Tensor:
    """Whole scores, and probabilities in the type of the inputs, forward and backward."""
    group = q.shape[2] // k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, *(y.repeat_interleave(group, 2) for y in (k, v))))
    document = (ids == 0).cumsum(1)
    back = torch.arange(ids.shape[1])[:, None] - torch.arange(ids.shape[1])
    seen = (document[:, :, None] == document[:, None, :]) & (back >= 0)
    if window is not None:
        seen &= back < window
    scores = (q @ k.transpose(2, 3) * scale).masked_fill(~seen[:, None], -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2)


def heads_of(
    ids: Tensor,
    heads: int = 4,
    kv_heads: int = 2,
    width: int = 8,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    counts = (heads, kv_heads, kv_heads)
    return [leaf(*ids.shape, n, width, dtype=dtype, seed=i) for i, n in enumerate(counts)]


def ops(ids: Tensor, scale: float = 0.3, window: int | None = None) -> tuple[Op, Op]:
    packing = Packing.of(ids, window=window)
    return (
        lambda q, k, v: packed_attention(q, k, v, packing, scale),
        lambda q, k, v: naive(q, k, v, ids, scale, window),
    )


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 5)
    monkeypatch.setattr(attention, "KEPT_LENGTH", 16)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 300])
def test_one_document(length: int, dtype: torch.dtype) -> None:
    ids = positions([length])
    assert_as_good_as_torch(*ops(ids), heads_of(ids, dtype=dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_longer_than_what_is_kept(dtype: torch.dtype) -> None:
    ids = positions([700, 400])
    assert ids.shape[1] > attention.KEPT_LENGTH
    assert_as_good_as_torch(*ops(ids), heads_of(ids, 2, 1, 4, dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("window", [None, 1, 40])
def test_rows_of_different_documents(window: int | None, dtype: torch.dtype) -> None:
    ids = positions([128, 128], [1, 127, 2, 126], [256], [100, 90, 66])
    assert_as_good_as_torch(*ops(ids, window=window), heads_of(ids, dtype=dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (6, 6), (6, 1), (6, 3), (14, 2)])
def test_grouped_queries(heads: int, kv_heads: int, dtype: torch.dtype) -> None:
    ids = positions([20, 15], [3, 32])
    assert_as_good_as_torch(*ops(ids, 128**-0.5), heads_of(ids, heads, kv_heads, 16, dtype))


Rows = st.integers(1, 40).flatmap(
    lambda length: st.lists(
        st.lists(st.integers(1, length), max_size=5).map(
            lambda cuts: (
                [b - a for a, b in zip([0, *cuts], [*cuts, length], strict=True)]
                if (cuts := sorted({c for c in cuts if c < length}))
                else [length]
            )
        ),
        min_size=1,
        max_size=3,
    )
)


@pytest.mark.usefixtures("small_blocks")
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=Rows, window=st.none() | st.integers(1, 12))
def test_any_boundaries(rows: list[list[int]], window: int | None) -> None:
    """Blocks of 5 here; rows of up to 16 tokens keep their probabilities, longer ones do not."""
    ids = positions(*rows)
    assert_as_good_as_torch(*ops(ids, window=window), heads_of(ids))


@pytest.mark.usefixtures("small_blocks")
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=Rows)
def test_packed_is_each_document_alone(rows: list[list[int]]) -> None:
    ids = positions(*rows)
    inputs = [x.detach().double().requires_grad_() for x in heads_of(ids)]

    def alone(*qkv: Tensor) -> Tensor:
        made = []
        for row, documents in enumerate(rows):
            parts = zip(*(torch.split(x[row, None], documents, 1) for x in qkv), strict=True)
            made.append(torch.cat([ops(positions([p[0].shape[1]]))[0](*p) for p in parts], 1))
        return torch.cat(made)

    pairs = zip(
        outputs_and_gradients(ops(ids)[0], inputs),
        outputs_and_gradients(alone, inputs),
        strict=True,
    )
    for packed, single in pairs:
        torch.testing.assert_close(packed, single, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("lengths", [[4, 7], [9, 8]])
@pytest.mark.parametrize("window", [None, 3])
def test_gradcheck(lengths: list[int], window: int | None) -> None:
    """11 tokens keep their probabilities; 17 do not."""
    ids = positions(lengths)
    inputs = [x.detach().double().requires_grad_() for x in heads_of(ids, 2, 1, 2)]
    assert torch.autograd.gradcheck(ops(ids, window=window)[0], inputs)


@pytest.mark.parametrize("dtype", TYPES)
def test_non_contiguous_inputs(dtype: torch.dtype) -> None:
    """Heads before length, as transformers has them; slices of one product; any strides."""
    ids = positions([20, 15], [3, 32])
    ours, plain = ops(ids)

    def through(op: Op) -> Op:
        return lambda q, k, v: op(
            q.transpose(1, 2).contiguous().transpose(1, 2), turned(k), v[..., :8]
        ).transpose(1, 3)

    inputs = heads_of(ids, dtype=dtype)
    inputs[2] = leaf(2, 35, 2, 11, dtype=dtype)
    assert_as_good_as_torch(through(ours), through(plain), inputs)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("length", [10, 20])
def test_twice_through_a_retained_graph(length: int) -> None:
    ids = positions([length])
    inputs = heads_of(ids)
    total = ops(ids)[0](*inputs).square().sum()
    once = torch.autograd.grad(total, inputs, retain_graph=True)
    twice = torch.autograd.grad(total, inputs)
    for x, y in zip(once, twice, strict=True):
        assert x.count_nonzero() > 0
        assert torch.equal(x, y)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_not_finite_propagates(place: int, value: float) -> None:
    """To the tokens that see it at least, into the same gradients, and to no other row."""
    ids = positions([12], [12])
    inputs = heads_of(ids)
    with torch.no_grad():
        inputs[place][0, 3] = value
    made, *gradients = outputs_and_gradients(ops(ids)[0], inputs)
    expected, *expected_gradients = outputs_and_gradients(ops(ids)[1], inputs)
    assert not expected.isfinite().all()
    assert not (made.isfinite() & ~expected.isfinite()).any()
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        assert ours[0].isfinite().all() == theirs[0].isfinite().all()
    assert all(x[1].isfinite().all() for x in (made, *gradients))


def test_no_tokens() -> None:
    ids = torch.zeros(2, 0, dtype=torch.int64)
    inputs = heads_of(ids)
    made = ops(ids)[0](*inputs)
    assert made.shape == (2, 0, 4, 8)
    found = torch.autograd.grad(made.sum(), inputs)
    assert [x.shape for x in found] == [x.shape for x in inputs]


@pytest.mark.parametrize(
    ("q", "k", "v", "rows"),
    [
        ((1, 20, 4, 8), (1, 20, 2, 8), (1, 20, 2, 16), [[20]]),
        ((1, 20, 4, 8), (1, 20, 2, 16), (1, 20, 2, 16), [[20]]),
        ((1, 20, 4, 8), (1, 10, 2, 8), (1, 10, 2, 8), [[20]]),
        ((2, 20, 4, 8), (1, 20, 2, 8), (1, 20, 2, 8), [[20]]),
        ((1, 20, 3, 8), (1, 20, 2, 8), (1, 20, 2, 8), [[20]]),
        ((1, 20, 4, 8), (1, 20, 0, 8), (1, 20, 0, 8), [[20]]),
        ((20, 4, 8), (20, 2, 8), (20, 2, 8), [[20]]),
        ((1, 20, 4, 8), (1, 20, 2, 8), (1, 20, 2, 8), [[10]]),
        ((1, 20, 4, 8), (1, 20, 2, 8), (1, 20, 2, 8), [[3000]]),
        ((1, 20, 4, 8), (1, 20, 2, 8), (1, 20, 2, 8), [[20], [5, 15]]),
        ((4, 20, 4, 8), (4, 20, 2, 8), (4, 20, 2, 8), [[20], [5, 15]]),
    ],
)
def test_shapes_that_do_not_fit(
    q: list[int], k: list[int], v: list[int], rows: list[list[int]]
) -> None:
    """The C++ would read, and write, beyond them."""
    packing = Packing.of(positions(*rows))
    with pytest.raises(ValueError, match=re.escape(f"q {list(q)}, k {list(k)} and v {list(v)}")):
        packed_attention(torch.ones(q), torch.ones(k), torch.ones(v), packing, 1.0)


@pytest.mark.parametrize("shape", [(0, 20), (20,), (1, 2, 20)])
def test_positions_of_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"position_ids {list(shape)} should be")):
        Packing.of(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_that_hides_every_key(window: int) -> None:
    with pytest.raises(ValueError, match=f"window={window} should be at least 1"):
        Packing.of(positions([20]), window=window)


def test_one_row_stands_for_any_number_packed_like_it() -> None:
    inputs = heads_of(positions([3, 9], [3, 9], [3, 9]))
    ours, _ = ops(positions([3, 9]))
    _, plain = ops(positions([3, 9], [3, 9], [3, 9]))
    assert_as_good_as_torch(ours, plain, inputs)


def test_rows_that_are_packed_alike_share_a_bias() -> None:
    alike = Packing.of(positions([100, 200], [100, 200]))
    apart = Packing.of(positions([100, 200], [200, 100]))
    assert {block.bias.shape[0] for block in alike.blocks} == {1}
    assert {block.bias.shape[0] for block in apart.blocks} == {2}


def test_keys_before_the_documents_of_a_block_are_skipped() -> None:
    blocks = Packing.of(positions([128, 130, 126])).blocks
    assert [(b.start, b.end, b.first) for b in blocks] == [
        (0, 128, 0),
        (128, 256, 128),
        (256, 384, 128),
    ]
    # All of the second block's queries see its first key, and no bias is added for it.
    assert blocks[1].hides == 129
    windowed = Packing.of(positions([384]), window=50).blocks
    assert [b.first for b in windowed] == [0, 79, 207]


class Probabilities:
    """Counts how often probabilities are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        made = attention._scores

        def counted(*args: Any) -> Tensor:
            self.count += 1
            return made(*args)

        monkeypatch.setattr(attention, "_scores", counted)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("length", "times"), [(15, 3), (16, 4), (17, 8)])
def test_kept_up_to_a_length(length: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = Probabilities(monkeypatch)
    ids = positions([length])
    outputs_and_gradients(ops(ids)[0], heads_of(ids))
    assert probabilities.count == times


@pytest.mark.parametrize("backward_too", [False, True])
@pytest.mark.parametrize("types", [TYPES[:1] * 3, TYPES[1:] * 3, [*TYPES[:1] * 2, TYPES[1]]])
def test_autocast(types: list[torch.dtype], backward_too: bool) -> None:
    """A norm of queries and keys with fp32 weights may leave them in fp32, beside bf16 values."""
    ids = positions([20, 15], [3, 32])
    inputs = [x.detach().to(t).requires_grad_() for x, t in zip(heads_of(ids), types, strict=True)]
    assert_as_good_under_autocast(*ops(ids), inputs, backward_too=backward_too)
