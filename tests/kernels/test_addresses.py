"""Tensors of more than 2³¹ elements: the kernels' address arithmetic does not overflow.

The last rows of such tensors are computed and nothing else: the programs' numbers begin where those
rows do, and an address that the kernel asks for is looked up in a small tensor that stands for the
end of the large one. An address that lies elsewhere fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from triton.language import int32
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from marco.kernels._linear_cross_entropy_kernels_triton import (
    linear_cross_entropy_bwd_kernel,
    linear_cross_entropy_fwd_kernel,
    linear_cross_entropy_product_kernel,
)
from marco.kernels._linear_distillation_kernels_triton import (
    linear_distillation_hidden_kernel,
    linear_distillation_lse_kernel,
)
from marco.kernels._rms_norm_kernels import rms_norm_bwd_kernel, rms_norm_fwd_kernel
from marco.kernels.rms_norm import rms_norm_naive
from marco.kernels.rope import rope_kernel, rope_naive
from marco.kernels.swiglu import swiglu_bwd_kernel, swiglu_fwd_kernel, swiglu_naive

MANY = 2**31


class Far:
    """The programs of `axis` from number `first` on, and tensors that end far away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first, self.axis = 0, 0
        self.known: list[tuple[int, int, int]] = []
        plain = InterpreterBuilder.create_get_program_id
        load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

        def program(builder: InterpreterBuilder, axis: int) -> TensorHandle:
            handle = plain(builder, axis)
            if axis == self.axis:
                handle = TensorHandle((handle.data + self.first).astype(np.int32), int32)
            return handle

        def near(ptrs: TensorHandle, mask: TensorHandle) -> TensorHandle:
            return TensorHandle(self.looked_up(ptrs.data, mask.data), ptrs.dtype)

        monkeypatch.setattr(InterpreterBuilder, "create_get_program_id", program)
        monkeypatch.setattr(
            InterpreterBuilder,
            "create_masked_load",
            lambda b, ptrs, mask, *rest: load(b, near(ptrs, mask), mask, *rest),
        )
        monkeypatch.setattr(
            InterpreterBuilder,
            "create_masked_store",
            lambda b, ptrs, value, mask, *rest: store(b, near(ptrs, mask), value, mask, *rest),
        )

    def looked_up(self, addresses: np.ndarray, mask: np.ndarray) -> np.ndarray:
        flat, wanted = addresses.astype(np.int64).ravel(), np.broadcast_to(mask, addresses.shape)
        found, times = flat.copy(), np.zeros(flat.shape, dtype=int)
        for begin, size, skipped in self.known:
            inside = (begin + skipped <= flat) & (flat < begin + skipped + size)
            found[inside] = flat[inside] - skipped
            times += inside
        assert (times[wanted.ravel()] == 1).all(), "an address outside of every tensor"
        return found.reshape(addresses.shape).astype(np.uint64)

    def begin(self, first: int, axis: int = 0) -> None:
        self.first, self.axis = first, axis

    def end_of(self, tensor: Tensor, skipped: int) -> Tensor:
        """`tensor` stands for what follows the first `skipped` elements of a larger one."""
        size = tensor.element_size()
        self.known.append((tensor.data_ptr(), tensor.numel() * size, skipped * size))
        return tensor

    def whole(self, tensor: Tensor) -> Tensor:
        return self.end_of(tensor, 0)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Far:
    return Far(monkeypatch)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_an_overflow_is_seen(far: Far) -> None:
    far.end_of(x := numbers(4), MANY)
    right = np.array([x.data_ptr() + 4 * MANY], dtype=np.uint64)
    assert far.looked_up(right, np.array([True])) == x.data_ptr()
    wrapped = np.array([x.data_ptr() - 4 * MANY], dtype=np.int64).astype(np.uint64)
    with pytest.raises(AssertionError, match="outside"):
        far.looked_up(wrapped, np.array([True]))
    far.looked_up(wrapped, np.array([False]))


def test_rms_norm(far: Far) -> None:
    hidden, block, rows = 8, 16, 21
    skipped = MANY // hidden
    far.begin(skipped // block)
    x, dy, dx = numbers(rows, hidden), numbers(rows, hidden, seed=1), torch.empty(rows, hidden)
    weight, y = numbers(hidden, seed=2), torch.empty(rows, hidden)
    for tensor in (x, dy, dx, y):
        far.end_of(tensor, skipped * hidden)
    far.whole(weight)
    sizes: dict[str, Any] = {"hidden": hidden, "block_rows": block, "block_hidden": hidden}
    sizes["stages"] = 1
    total = skipped + rows
    rms_norm_fwd_kernel[(2,)](x, x, weight, y, x, total, 1e-6, has_residual=False, **sizes)
    torch.testing.assert_close(y, rms_norm_naive(x, weight, 1e-6))
    # Two programs, a block each: their partial sums lie in rows `first` and `first + 1`.
    partial = far.end_of(torch.empty(2, hidden), far.first * hidden)
    rms_norm_bwd_kernel[(2,)](
        dy, dy, x, weight, dx, partial, total, 1e-6, has_dsummed=False, **sizes
    )
    leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    expected = torch.autograd.grad(rms_norm_naive(*leaves, 1e-6), leaves, dy)
    torch.testing.assert_close((dx, partial.sum(0)), expected)


def test_rope(far: Far) -> None:
    heads, kv_heads, width, tokens = 4, 2, 8, 3
    skipped = MANY // (kv_heads * width)
    far.begin(skipped)
    q, k = numbers(1, tokens, heads, width), numbers(1, tokens, kv_heads, width, seed=1)
    cos, sin = (numbers(1, tokens, width // 2, seed=s).repeat(1, 1, 2) for s in (2, 3))
    made = torch.empty_like(q), torch.empty_like(k)
    for x in (q, k, cos, sin, *made):
        far.end_of(x, skipped * x[0, 0].numel())
    rope_kernel[(tokens,)](
        q,
        k,
        cos,
        sin,
        *made,
        skipped + tokens,
        *q.stride(),
        *k.stride(),
        0,
        0,
        inverse=False,
        heads=heads,
        kv_heads=kv_heads,
        half=width // 2,
        block_heads=heads,
        block_kv_heads=kv_heads,
        block_half=width // 2,
    )
    torch.testing.assert_close(made, rope_naive(q, k, cos, sin))


def test_rope_of_heads_that_lie_far_apart(far: Far) -> None:
    """The second head of a view [heads, length, width] with a length of 2²⁹."""
    width, stride = 8, MANY * 2
    near, second = numbers(1, width), numbers(1, width, seed=1)
    far.whole(near)
    far.end_of(second, stride + (near.data_ptr() - second.data_ptr()) // 4)
    angles = far.whole(torch.zeros(1, width)), far.whole(torch.ones(1, width))
    made = far.whole(torch.empty(1, 1, 2, width)), far.whole(torch.empty(1, 1, 1, width))
    sizes: dict[str, Any] = {"heads": 2, "kv_heads": 1, "half": 4, "inverse": False}
    sizes |= {"block_heads": 2, "block_kv_heads": 1, "block_half": 4}
    strides = (stride, width, stride, 1)
    rope_kernel[(1,)](
        near,
        near,
        *angles,
        *made,
        1,
        *strides,
        *strides,
        0,
        0,
        **sizes,
    )
    quarter = torch.cat([-second[:, 4:], second[:, :4]], 1)
    torch.testing.assert_close(made[0][0, 0, 1:], quarter)


def test_swiglu(far: Far) -> None:
    columns, rows = 16, 2
    skipped = MANY // columns
    far.begin(skipped)
    gate, up, dy = (numbers(rows, columns, seed=seed) for seed in range(3))
    y, dgate, dup = (torch.empty(rows, columns) for _ in range(3))
    for x in (gate, up, dy, y, dgate, dup):
        far.end_of(x, skipped * columns)
    swiglu_fwd_kernel[(rows, 1)](gate, up, y, columns, columns, columns, block=16)
    torch.testing.assert_close(y, swiglu_naive(gate, up))
    swiglu_bwd_kernel[(rows, 1)](
        dy, gate, up, dgate, dup, columns, columns, columns, columns, block=16
    )
    leaves = [gate.clone().requires_grad_(), up.clone().requires_grad_()]
    expected = torch.autograd.grad(swiglu_naive(*leaves), leaves, dy)
    torch.testing.assert_close((dgate, dup), expected)


def test_linear_cross_entropy_of_many_tokens(far: Far) -> None:
    width, rows, tokens, tile = 16, 20, 21, 16
    skipped = MANY // width
    far.begin(skipped // tile, axis=1)
    x, w, targets = numbers(tokens, width), numbers(rows, width, seed=1), torch.arange(tokens) % 20
    logit, maxima, sums = (torch.empty(tokens) for _ in range(3))
    grad, d = numbers(tokens, seed=2), torch.empty(tokens, 32)
    far.end_of(x, skipped * width)
    far.end_of(d, skipped * 32)
    far.whole(w)
    for one in (targets, logit, maxima, sums, grad):
        far.end_of(one, skipped)
    sizes: dict[str, Any] = {"gathered": False, "tile_t": tile, "tile_v": 32, "tile_h": 16}
    unused = targets, targets
    linear_cross_entropy_fwd_kernel[(1, 2)](
        x, w, targets, *unused, logit, maxima, sums, sums, sums, sums,
        skipped + tokens, rows, width, 1, 1, smoothed=False, statistics=False, **sizes,
    )  # fmt: skip
    z = x @ w.T
    torch.testing.assert_close(maxima + sums.log(), z.logsumexp(1))
    torch.testing.assert_close(logit, z.gather(1, targets[:, None])[:, 0])
    log_sum = far.end_of(sums.log(), skipped)
    linear_cross_entropy_bwd_kernel[(1, 2)](
        x, w, targets, *unused, maxima, log_sum, grad, d, targets,
        skipped + tokens, 0, rows, rows, width, 32, 0.0, 0.0, 1, filtered=False, **sizes,
    )  # fmt: skip
    expected = (z.softmax(1) - torch.eye(rows)[targets]) * grad[:, None]
    torch.testing.assert_close(d[:, :rows], expected)
    # What adds the slab's product to the gradient of the hidden states.
    out = far.end_of(torch.zeros(tokens, width), skipped * width)
    one = far.whole(torch.ones(1))
    linear_cross_entropy_product_kernel[(1, 2)](
        d, w, out, *unused, targets, one, skipped + tokens, width, rows, 32, 1, 0, 0, 1,
        gathered=0, accumulate=True, filtered=False, tile_m=tile, tile_n=16, tile_k=16,
    )  # fmt: skip
    torch.testing.assert_close(out, expected @ w)


def test_linear_cross_entropy_of_a_large_head(far: Far) -> None:
    width, rows, tokens, tile = 16, 20, 5, 16
    skipped = MANY // width
    far.begin(skipped // tile)
    x, w = far.whole(numbers(tokens, width)), numbers(rows, width, seed=1)
    far.end_of(w, skipped * width)
    targets = far.whole(torch.arange(tokens) + skipped)
    parts = 2
    logit, maxima, sums = (torch.empty(tokens, n) for n in (1, parts, parts))
    far.whole(logit)
    for one in (maxima, sums):
        far.end_of(one, skipped // tile)
    whole = skipped // tile  # row tiles of a group: the programs before these are all of one
    linear_cross_entropy_fwd_kernel[(parts, 1)](
        x, w, targets, targets, targets, logit, maxima, sums, sums, sums, sums,
        tokens, skipped + rows, width, 1, whole, gathered=False, smoothed=False, statistics=False,
        tile_t=16, tile_v=tile, tile_h=16,
    )  # fmt: skip
    z = x @ w.T
    torch.testing.assert_close((maxima + sums.log()).logsumexp(1), z.logsumexp(1))
    torch.testing.assert_close(logit[:, 0], z.diagonal())


def test_linear_distillation(far: Far) -> None:
    width, rows, tokens, tile = 16, 20, 21, 16
    skipped = MANY // width
    far.begin(skipped // tile, axis=1)
    h, w = numbers(tokens, width), far.whole(numbers(rows, width, seed=1))
    parts, d = torch.empty(2, tokens), numbers(tokens, 32, seed=2)
    for number in (0, 1):  # the second row begins behind the first's whole length
        far.end_of(parts[number], (number + 1) * skipped)
    far.end_of(h, skipped * width)
    far.end_of(d, skipped * 32)
    sizes = {"b_token": tile, "b_row": 32, "b_size": 16}
    linear_distillation_lse_kernel[(1, 2)](
        h, w, parts, skipped + tokens, rows, width, 32, 1.0, 1, **sizes
    )
    torch.testing.assert_close(parts[0] + parts[1].log(), (h @ w.T).logsumexp(1))
    dh = far.end_of(torch.zeros(tokens, width), skipped * width)
    linear_distillation_hidden_kernel[(1, 2)](
        d, w, dh, skipped + tokens, rows, width, 32, 1, **sizes
    )
    torch.testing.assert_close(dh, d[:, :rows] @ w)
