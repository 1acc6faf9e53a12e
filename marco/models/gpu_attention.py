"""Causal attention within packed documents on a GPU, with no [length, length] mask in memory.

flash-attn's variable-length kernel (arXiv 2307.08691) where the package is installed and the type
is one it takes, else torch's FlexAttention (arXiv 2412.05496). What has run so far: FlexAttention
eagerly on a CPU, its forward only, and flash-attn as a stand-in of the same signature. Neither
kernel, nor FlexAttention's backward, nor the compiled mask, has run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention


@dataclass(frozen=True)
class Lengths:
    """Documents of a batch, row after row, as flash-attn takes them.

    Attributes:
        cu_seqlens: [documents + 1] int32, on the GPU: where each begins, and the end.
        longest: tokens of the longest.
    """

    cu_seqlens: Tensor
    longest: int


@dataclass(frozen=True)
class GpuPacking:
    """Where documents begin in a batch of packed rows; made once a batch, used by all layers.

    What a kernel needs is made at its first use and kept.

    Attributes:
        starts: [rows, length] int64: the place in its row at which each token's document begins.
        window: keys that lie this many tokens back or more are hidden (a sliding window).
    """

    starts: Tensor
    window: int | None

    @classmethod
    def of(cls, position_ids: Tensor, *, window: int | None = None) -> GpuPacking:
        """From positions [rows, length] that restart at every document. The host does not wait."""
        places = torch.arange(position_ids.shape[1], device=position_ids.device)
        restarts = torch.ones_like(position_ids, dtype=torch.bool)
        restarts[:, 1:] = position_ids[:, 1:] != position_ids[:, :-1] + 1
        return cls(torch.where(restarts, places, 0).cummax(1).values, window)

    @cached_property
    def lengths(self) -> Lengths:
        """For flash-attn. The host waits here, once: it launches by the longest document."""
        starts = self.starts.cpu()
        rows, length = starts.shape
        begins = (starts == torch.arange(length)).flatten().nonzero().squeeze(1)
        ends = torch.tensor([rows * length])
        cu_seqlens = torch.cat([begins, ends]).int()
        return Lengths(cu_seqlens.to(self.starts.device), int(cu_seqlens.diff().max()))

    @cached_property
    def mask(self) -> BlockMask:
        """For FlexAttention: which blocks of keys each block of queries meets."""
        first = self.starts
        rows, length = first.shape
        if self.window is not None:
            places = torch.arange(length, device=first.device)
            first = torch.maximum(first, places - self.window + 1)

        def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (first[row, query] <= key) & (key <= query)

        make = compiled(create_block_mask) if first.is_cuda else create_block_mask
        made: BlockMask = make(seen, rows, None, length, length, device=first.device)
        return made


def gpu_packed_attention(
    q: Tensor, k: Tensor, v: Tensor, packing: GpuPacking, scale: float
) -> Tensor:
    """Attention of every token to its own document's tokens up to itself.

    Args:
        q: [rows, length, heads, width]. k, v: [rows, length, kv heads, width]; heads is a
            multiple of kv heads, and each group of neighbouring heads shares one.
        scale: what the scores are multiplied by.

    Returns:
        [rows, length, heads, width].
    """
    flash = flash_varlen()
    if flash is not None and q.dtype in (torch.bfloat16, torch.float16):
        return _by_flash(flash, q, k, v, packing, scale)
    return _by_flex(q, k, v, packing, scale)


@cache
def flash_varlen() -> Callable[..., Any] | None:
    """flash-attn's function for documents of different lengths, where the package works."""
    try:
        from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]
    except ImportError:
        return None
    found: Callable[..., Any] = flash_attn_varlen_func
    return found


def _by_flash(
    flash: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor, packing: GpuPacking, scale: float
) -> Tensor:
    lengths, window = packing.lengths, packing.window
    made: Tensor = flash(
        *(x.flatten(0, 1) for x in (q, k, v)),
        cu_seqlens_q=lengths.cu_seqlens,
        cu_seqlens_k=lengths.cu_seqlens,
        max_seqlen_q=lengths.longest,
        max_seqlen_k=lengths.longest,
        softmax_scale=scale,
        causal=True,
        window_size=(-1, -1) if window is None else (window - 1, 0),  # tokens back, itself not
    )
    return made.view(q.shape)


def _by_flex(q: Tensor, k: Tensor, v: Tensor, packing: GpuPacking, scale: float) -> Tensor:
    eager: Callable[..., Any] = flex_attention
    attention = compiled(eager) if q.is_cuda else eager
    heads_first = [x.transpose(1, 2) for x in (q, k, v)]
    made: Tensor = attention(*heads_first, block_mask=packing.mask, scale=scale, enable_gqa=True)
    return made.transpose(1, 2)


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled once a process. Uncompiled, either function makes a [length, length] tensor.

    Shapes become dynamic when they vary: scoring has rows of many widths, and torch gives up, and
    runs uncompiled, after a few recompilations.
    """
    return torch.compile(function)
