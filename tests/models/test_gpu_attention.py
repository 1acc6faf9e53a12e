"""Packed attention for GPUs, on a CPU: FlexAttention eagerly, flash-attn as a stand-in."""

from __future__ import annotations

import sys
import types
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config

from marco.kernels.torch_path.attention import Packing, packed_attention
from marco.models import attention as attention_module
from marco.models import gpu_attention
from marco.models.attention import attention_forward, packings
from marco.models.gpu_attention import GpuPacking, gpu_packed_attention

SCALE = 0.3
ROWS = [[[37]], [[5, 1, 20, 11], [37]], [[1] * 37], [[150, 107], [3, 254]]]


def positions(rows: list[list[int]]) -> Tensor:
    return torch.stack([torch.cat([torch.arange(n) for n in lengths]) for lengths in rows])


def heads(rows: int, length: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Queries of 4 heads, keys and values of 2."""
    generator = torch.Generator().manual_seed(length)
    shapes = [(rows, length, count, 16) for count in (4, 2, 2)]
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


class Flash:
    """`flash_attn_varlen_func` in plain torch, one document at a time; keeps what it was given."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
    ) -> Tensor:
        assert q.ndim == k.ndim == v.ndim == 3
        assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
        assert softmax_scale is not None
        assert type(max_seqlen_q) is type(max_seqlen_k) is int
        self.calls.append(
            {
                "cu_seqlens": (cu_seqlens_q.tolist(), cu_seqlens_k.tolist()),
                "longest": (max_seqlen_q, max_seqlen_k),
                "causal": causal,
                "window": window_size,
                "dropout": dropout_p,
            }
        )
        group = q.shape[1] // k.shape[1]
        made = []
        bounds = cu_seqlens_q.tolist()
        for start, end in pairwise(bounds):
            query = q[start:end].transpose(0, 1)
            key, value = (x[start:end].transpose(0, 1).repeat_interleave(group, 0) for x in (k, v))
            back = torch.arange(end - start)[:, None] - torch.arange(end - start)
            hidden = back < 0 if causal else torch.zeros_like(back, dtype=torch.bool)
            if window_size[0] >= 0:
                hidden |= back > window_size[0]
            if window_size[1] >= 0:
                hidden |= -back > window_size[1]
            scores = (query @ key.mT * softmax_scale).masked_fill(hidden, -torch.inf)
            made.append((scores.softmax(-1) @ value).transpose(0, 1))
        return torch.cat(made)


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Flash:
    stand_in = Flash()
    monkeypatch.setattr(gpu_attention, "flash_varlen", lambda: stand_in)
    return stand_in


@pytest.mark.parametrize("window", [None, 1, 8])
@pytest.mark.parametrize("rows", ROWS)
def test_flex_attention_is_the_cpu_path(rows: list[list[int]], window: int | None) -> None:
    ids = positions(rows)
    q, k, v = heads(*ids.shape)
    expected = packed_attention(q, k, v, Packing.of(ids, window=window), SCALE)
    with torch.no_grad():
        ours = gpu_packed_attention(q, k, v, GpuPacking.of(ids, window=window), SCALE)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [None, 1, 8])
@pytest.mark.parametrize("rows", ROWS)
def test_flash_attention_is_the_cpu_path(
    flash: Flash, rows: list[list[int]], window: int | None
) -> None:
    ids = positions(rows)
    leaves = [x.requires_grad_() for x in heads(*ids.shape)]
    out = packed_attention(*leaves, Packing.of(ids, window=window), SCALE)
    dy = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    expected = [out, *torch.autograd.grad(out, leaves, dy)]
    packing = GpuPacking.of(ids, window=window)
    out = gpu_attention._by_flash(flash, *leaves, packing, SCALE)
    ours = [out, *torch.autograd.grad(out, leaves, dy)]
    for our, their in zip(ours, expected, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-5, atol=1e-5)


def test_flash_attention_is_told_where_documents_begin(flash: Flash) -> None:
    ids = positions([[5, 1, 14], [20]])
    for window in (None, 8):
        q, k, v = heads(*ids.shape, torch.bfloat16)
        gpu_packed_attention(q, k, v, GpuPacking.of(ids, window=window), SCALE)
    shared = {
        "cu_seqlens": ([0, 5, 6, 20, 40],) * 2,
        "longest": (20, 20),
        "causal": True,
        "dropout": 0.0,
    }
    # Eight keys are seen: seven before the token and its own.
    assert flash.calls == [shared | {"window": (-1, -1)}, shared | {"window": (7, 0)}]


@pytest.mark.parametrize(
    ("dtype", "calls"), [(torch.bfloat16, 1), (torch.float16, 1), (torch.float32, 0)]
)
def test_flash_attention_gets_the_types_it_takes(
    flash: Flash, dtype: torch.dtype, calls: int
) -> None:
    ids = positions([[9, 3]])
    q, k, v = heads(*ids.shape, dtype)
    out = gpu_packed_attention(q, k, v, GpuPacking.of(ids), SCALE)
    assert out.dtype == dtype
    assert len(flash.calls) == calls


def test_flash_attention_is_found_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("flash_attn")
    package.flash_attn_varlen_func = stand_in = Flash()  # type: ignore[attr-defined]
    for installed, found in ((package, stand_in), (None, None)):
        monkeypatch.setitem(sys.modules, "flash_attn", installed)
        gpu_attention.flash_varlen.cache_clear()
        assert gpu_attention.flash_varlen() is found
    gpu_attention.flash_varlen.cache_clear()


@pytest.mark.parametrize("kernel", ["flash", "flex"])
def test_layers_share_what_a_batch_needs(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = positions([[20, 17]])
    packing = GpuPacking.of(ids)
    q, k, v = heads(*ids.shape)
    stand_in, made = Flash(), []
    make = gpu_attention.create_block_mask
    monkeypatch.setattr(
        gpu_attention, "create_block_mask", lambda *a, **o: made.append(1) or make(*a, **o)
    )
    for _ in range(3):
        if kernel == "flash":
            kept = packing.lengths
            gpu_attention._by_flash(stand_in, q, k, v, packing, SCALE)
            assert packing.lengths is kept
        else:
            gpu_attention._by_flex(q, k, v, packing, SCALE)
    assert len(made) == (1 if kernel == "flex" else 0)


def test_the_compiled_mask_is_the_eager_one() -> None:
    """By Dynamo alone, as no GPU is at hand; a second batch of that shape compiles nothing."""
    counted = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(gpu_attention.create_block_mask, dynamic=False, backend=counted)
    for rows in ([[150, 107]], [[3, 254]]):
        packing = GpuPacking.of(positions(rows))
        first = packing.starts

        def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (first[row, query] <= key) & (key <= query)  # noqa: B023

        made = compiled(seen, 1, None, 257, 257, device="cpu")
        assert torch.equal(made.to_dense(), packing.mask.to_dense())
    assert counted.frame_count == 1


@pytest.mark.parametrize("layers", [["full"], ["sliding"], ["full", "sliding"]])
def test_the_device_decides_the_packing(layers: list[str]) -> None:
    config = Qwen2Config(
        num_hidden_layers=len(layers),
        layer_types=[f"{kind}_attention" for kind in layers],
        use_sliding_window=True,
        sliding_window=8,
    )
    with torch.device("meta"):
        made = packings(config, torch.zeros(2, 12, dtype=torch.int64))
    assert all(isinstance(packing, GpuPacking) for packing in made.values())
    assert {name: packing.window for name, packing in made.items()} == {  # type: ignore[union-attr]
        "full_attention": None,
        **({"sliding_attention": 8} if "sliding" in layers else {}),
    }
    made = packings(config, torch.zeros(2, 12, dtype=torch.int64))
    assert all(isinstance(packing, Packing) for packing in made.values())


def test_making_a_packing_keeps_the_host_going() -> None:
    """On the meta device whatever reads a value back fails."""
    packing = GpuPacking.of(torch.zeros(2, 12, dtype=torch.int64, device="meta"), window=4)
    assert packing.starts.shape == (2, 12)


def test_both_entrances_take_a_gpu_packing(flash: Flash) -> None:
    ids = positions([[20, 17]])
    packing, (q, k, v) = GpuPacking.of(ids), heads(*ids.shape, torch.bfloat16)
    module = torch.nn.Module()
    module.scaling, module.attention_dropout = SCALE, 0.0  # type: ignore[assignment]
    expected = gpu_packed_attention(q, k, v, packing, SCALE)
    assert torch.equal(attention_module.attend(module, q, k, v, packing, None), expected)
    swapped = (x.transpose(1, 2) for x in (q, k, v))
    out, weights = attention_forward(module, *swapped, packing, scaling=SCALE)
    assert torch.equal(out, expected)
    assert weights is None
    assert len(flash.calls) == 3
