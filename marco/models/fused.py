"""Decoder layers of Qwen2, Qwen2.5 and Qwen3 written in fused operations.

A model's own layers become instances of subclasses: gradient checkpointing, FSDP2, output
recording and adapters go on working, parameters and their names do not change, and no other
model of the process is touched.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RMSNorm

from marco.models.attention import register
from marco.models.operations import Operations, operations


class FusedLayer(nn.Module):
    """One decoder layer, pre-norm, with grouped-query attention and a gated MLP."""

    fused: Operations
    self_attn: Any
    mlp: Any
    input_layernorm: Any
    post_attention_layernorm: Any

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Any = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        use_cache: bool | None = False,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        """As in transformers: [batch, length, hidden] in and out.

        `past_key_values` is `cache` under the name that it had before transformers 5.24.
        """
        assert position_embeddings is not None
        cache = past_key_values if cache is None else cache
        ops, attention, mlp = self.fused, self.self_attn, self.mlp
        norm = self.input_layernorm
        x = ops.rms_norm(hidden_states, norm.weight, norm.variance_epsilon)
        q, k, v = _heads(ops, attention, x)
        q, k = ops.rope(q, k, *position_embeddings)
        mixed = ops.attend(attention, q, k, v, attention_mask, cache, **kwargs)
        out = _linear(ops, attention.o_proj, mixed.flatten(2))
        norm = self.post_attention_layernorm
        x, residual = ops.add_rms_norm(out, hidden_states, norm.weight, norm.variance_epsilon)
        if type(mlp.gate_proj) is type(mlp.up_proj) is nn.Linear:
            x = ops.gated(x, mlp.gate_proj.weight, mlp.up_proj.weight)
        else:  # an adapter took a projection's place
            x = mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x)
        return residual + _linear(ops, mlp.down_proj, x)


class FusedQwen2Layer(FusedLayer, Qwen2DecoderLayer):  # type: ignore[misc]
    """Qwen2 and Qwen2.5: biases on queries, keys and values."""


class FusedQwen3Layer(FusedLayer, Qwen3DecoderLayer):  # type: ignore[misc]
    """Qwen3: no biases, a norm over each head of queries and keys."""


class FusedNorm(nn.Module):
    """The norm before the head."""

    fused: Operations
    weight: Tensor
    variance_epsilon: float

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[..., hidden] in and out."""
        return self.fused.rms_norm(hidden_states, self.weight, self.variance_epsilon)


class FusedQwen2Norm(FusedNorm, Qwen2RMSNorm):  # type: ignore[misc]
    """Qwen2's."""


class FusedQwen3Norm(FusedNorm, Qwen3RMSNorm):  # type: ignore[misc]
    """Qwen3's."""


_FUSED: dict[type[nn.Module], type[nn.Module]] = {
    Qwen2DecoderLayer: FusedQwen2Layer,
    Qwen3DecoderLayer: FusedQwen3Layer,
    Qwen2RMSNorm: FusedQwen2Norm,
    Qwen3RMSNorm: FusedQwen3Norm,
}


def fuse(network: PreTrainedModel, backend: Literal["triton", "torch", "native"]) -> str:
    """Install a backend's operations in this model; returns a line for the log."""
    layers = network.model.layers
    if any(type(layer) not in _FUSED for layer in layers):
        kind = type(layers[0]).__name__
        return f"Kernels: there are none for {kind}, transformers' own are used."
    ops = operations(backend)
    for module in (*layers, network.model.norm):
        module.__class__ = _FUSED[type(module)]
        module.fused = ops
    _own_config(network)._attn_implementation = register()
    return f"Kernels: {backend}, {len(layers)} fused layers."


def _own_config(network: PreTrainedModel) -> PreTrainedConfig:
    """Give the model a config of its own: models made from one config share the object."""
    shared, own = network.config, copy.deepcopy(network.config)
    for module in network.modules():
        if getattr(module, "config", None) is shared:
            module.config = own
    return own


def is_fused(network: PreTrainedModel) -> bool:
    """Whether `fuse` has been here."""
    return isinstance(network.model.layers[0], FusedLayer)


def _heads(ops: Operations, attention: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values: [batch, length, heads, width] each."""
    projections = [attention.q_proj, attention.k_proj, attention.v_proj]
    if all(type(layer) is nn.Linear for layer in projections):
        weights = [layer.weight for layer in projections]
        parts = ops.linears(x, weights, [layer.bias for layer in projections])
    else:
        parts = [layer(x) for layer in projections]
    q, k, v = (part.view(*part.shape[:-1], -1, attention.head_dim) for part in parts)
    if hasattr(attention, "q_norm"):
        q_norm, k_norm = attention.q_norm, attention.k_norm
        q = ops.rms_norm(q, q_norm.weight, q_norm.variance_epsilon)
        k = ops.rms_norm(k, k_norm.weight, k_norm.variance_epsilon)
        if v.dtype != q.dtype:  # under autocast the norm's fp32 gain widens them
            q, k = q.to(v.dtype), k.to(v.dtype)
    return q, k, v


def _linear(ops: Operations, layer: Any, x: Tensor) -> Tensor:
    if type(layer) is not nn.Linear:
        made: Tensor = layer(x)
        return made
    return ops.linears(x, [layer.weight], [layer.bias])[0]
