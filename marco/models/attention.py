"""Attention of fused layers: packed documents on the fast path, everything else by SDPA.

Training and scoring pass a `Packing` (on a GPU a `GpuPacking`) where transformers passes a mask, or
`Branches`, where texts share their beginnings; padded generation, KV caches, sliding windows and
masks of any other kind go through transformers' SDPA, as they do in an unfused model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from marco.kernels.torch_path.attention import Packing, packed_attention
from marco.models.branches import Branches
from marco.models.gpu_attention import GpuPacking, gpu_packed_attention

NAME = "marco"


def register() -> str:
    """Make the implementation known to both of transformers' registries; returns its name.

    Registered in the first only, a model would get no mask at all.
    """
    AttentionInterface.register(NAME, attention_forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def packings(config: PreTrainedConfig, position_ids: Tensor) -> Mapping[str, Packing | GpuPacking]:
    """What a model takes as `attention_mask`: by kind of layer, where its documents begin.

    The device of `position_ids` decides which kind of packing it is.
    """
    kind = Packing if position_ids.device.type == "cpu" else GpuPacking
    made = {"full_attention": kind.of(position_ids)}
    if "sliding_attention" in config.layer_types:
        made["sliding_attention"] = kind.of(position_ids, window=config.sliding_window)
    return made


def attend(
    attention: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Packing | GpuPacking | Branches | Tensor | None,
    cache: Any,
    **kwargs: Any,
) -> Tensor:
    """[batch, length, heads, width] from rotated q, k and v of that shape (k, v fewer heads)."""
    if isinstance(mask, Branches):
        return mask.attend(attention.layer_idx, q, k, v, attention.scaling)
    dropout = attention.attention_dropout if attention.training else 0.0
    if isinstance(mask, Packing | GpuPacking):
        return _packed(q, k, v, mask, attention.scaling, dropout)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if cache is not None:
        k, v = cache.update(k, v, attention.layer_idx)
    made, _ = attention_forward(
        attention,
        q,
        k,
        v,
        mask,
        scaling=attention.scaling,
        sliding_window=attention.sliding_window,
        dropout=dropout,
        **kwargs,
    )
    return made


def attention_forward(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    """transformers' interface: heads before length in, length before heads out."""
    if isinstance(mask, Branches):
        q, k, v = (x.transpose(1, 2) for x in (query, key, value))
        return mask.attend(module.layer_idx, q, k, v, kwargs["scaling"]), None
    if isinstance(mask, Packing | GpuPacking):
        q, k, v = (x.transpose(1, 2) for x in (query, key, value))
        return _packed(q, k, v, mask, kwargs["scaling"], kwargs.get("dropout", 0.0)), None
    made, _ = sdpa_attention_forward(module, query, key, value, mask, **kwargs)
    return made, None


def _packed(
    q: Tensor, k: Tensor, v: Tensor, packing: Packing | GpuPacking, scale: float, dropout: float
) -> Tensor:
    if dropout > 0:  # set since `fuse` looked
        raise ValueError(f"attention_dropout={dropout}: attention of packed documents drops none.")
    if isinstance(packing, GpuPacking):
        return gpu_packed_attention(q, k, v, packing, scale)
    return packed_attention(q, k, v, packing, scale)
