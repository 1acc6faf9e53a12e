"""Attention within packed documents: marco's, SDPA as transformers calls it, and their like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import Qwen2Config

from bench.op_inputs import packed_positions
from marco.models.attention import attention_forward, packings
from marco.models.gpu_attention import GpuPacking, flash_varlen

Run = Callable[..., Any]
#: Tokens of a row, where rows of so many make up the tokens; else there is one row.
LENGTH = 4096


def attention(
    sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device, tokens: int
) -> tuple[list[Tensor], Run, dict[str, Callable[[], Run]]]:
    """Inputs q, k and v [rows, length, heads, width], plain twin, contenders: `gpu_ops.Op`'s.

    What depends on the documents' boundaries alone is made once, as in a step of many layers.
    """
    _, _, heads, kv_heads, width, _ = sizes
    length = tokens if tokens % LENGTH else LENGTH
    positions = packed_positions(tokens // length, length, device)
    generator = torch.Generator(device).manual_seed(0)
    inputs = [
        torch.randn((*positions.shape, count, width), generator=generator, device=device)
        .to(dtype)
        .requires_grad_()
        for count in (heads, kv_heads, kv_heads)
    ]
    scale = width**-0.5
    packing = GpuPacking.of(positions)
    # On a GPU ours is one of the last two: flash-attn where it is installed.
    contenders = {
        "ours": lambda: _ours(positions, scale),
        "torch": lambda: _sdpa(packing, scale),
        "FlexAttention": lambda: _flex(packing, scale),
    }
    flash = flash_varlen()
    if flash is not None:
        contenders["flash-attn"] = lambda: _flash(flash, packing, scale)
    return inputs, eager(packing, scale), contenders


def _ours(positions: Tensor, scale: float) -> Run:
    """What a fused layer does on this device."""
    packing: Any = packings(Qwen2Config(), positions)["full_attention"]
    layer = torch.nn.Module()  # which the packed way never asks

    def run(*qkv: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in qkv)
        return attention_forward(layer, q, k, v, packing, scaling=scale)[0]

    return run


def _seen(packing: GpuPacking) -> Tensor:
    """[rows, 1, length, length] bool: which keys a query sees."""
    starts = packing.starts
    place = torch.arange(starts.shape[1], device=starts.device)
    return ((starts[:, :, None] <= place) & (place[:, None] >= place))[:, None]


def _all_heads(*qkv: Tensor) -> list[Tensor]:
    """Heads before length, the shared ones repeated, as transformers does where there is a mask."""
    q, k, v = (x.transpose(1, 2) for x in qkv)
    return [q, *(x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))]


def eager(packing: GpuPacking, scale: float) -> Run:
    """transformers' eager attention: rounded after each product and after the softmax."""
    seen = _seen(packing)

    def run(*qkv: Tensor) -> Tensor:
        q, k, v = _all_heads(*qkv)
        scores = (q @ k.transpose(2, 3) * scale).masked_fill(~seen, -torch.inf)
        wide = torch.promote_types(q.dtype, torch.float32)
        return (scores.softmax(-1, dtype=wide).to(q.dtype) @ v).transpose(1, 2)

    return run


def _sdpa(packing: GpuPacking, scale: float) -> Run:
    """With a mask, as transformers calls it for packed rows."""
    seen = _seen(packing)

    def run(*qkv: Tensor) -> Tensor:
        made = scaled_dot_product_attention(*_all_heads(*qkv), attn_mask=seen, scale=scale)
        return made.transpose(1, 2)

    return run


def _flex(packing: GpuPacking, scale: float) -> Run:
    compiled = torch.compile(flex_attention, dynamic=False)
    mask = packing.mask

    def run(*qkv: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in qkv)
        made = compiled(q, k, v, block_mask=mask, scale=scale, enable_gqa=True)
        return made.transpose(1, 2)

    return run


def _flash(flash: Run, packing: GpuPacking, scale: float) -> Run:
    lengths = packing.lengths

    def run(*qkv: Tensor) -> Tensor:
        made: Tensor = flash(
            *(x.flatten(0, 1) for x in qkv),
            cu_seqlens_q=lengths.cu_seqlens,
            cu_seqlens_k=lengths.cu_seqlens,
            max_seqlen_q=lengths.longest,
            max_seqlen_k=lengths.longest,
            softmax_scale=scale,
            causal=True,
        )
        return made.view(qkv[0].shape)

    return run
