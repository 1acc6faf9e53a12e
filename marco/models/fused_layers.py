"""Decoder layers of Qwen2, Qwen2.5 and Qwen3 written in fused operations.

A module that something else has replaced, hooked or given a bias is called as it is.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers.activations import SiLUActivation
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2Attention,
    Qwen2DecoderLayer,
    Qwen2MLP,
    Qwen2RMSNorm,
)
from transformers.models.qwen3.modeling_qwen3 import (
    Qwen3Attention,
    Qwen3DecoderLayer,
    Qwen3MLP,
    Qwen3RMSNorm,
)

from marco.models.operations import Operations


class FusedAttention(nn.Module):
    """Grouped-query attention."""

    fused: Operations
    o_proj: Any

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Any = None,
        cache: Any = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """As in transformers: [batch, length, hidden] in and out, and no weights of attention.

        `past_key_values` is `cache` under the name that it had before transformers 5.24.
        """
        ops, cache = self.fused, past_key_values if cache is None else cache
        q, k, v = _heads(ops, self, hidden_states)
        q, k = ops.rope(q, k, *position_embeddings)
        mixed = ops.attend(self, q, k, v, attention_mask, cache, **kwargs)
        return _linear(ops, self.o_proj, mixed.flatten(2)), None


class FusedQwen2Attention(FusedAttention, Qwen2Attention):  # type: ignore[misc]
    """Qwen2 and Qwen2.5: biases on queries, keys and values."""


class FusedQwen3Attention(FusedAttention, Qwen3Attention):  # type: ignore[misc]
    """Qwen3: no biases, a norm over each head of queries and keys."""


class FusedMLP(nn.Module):
    """A gated MLP."""

    fused: Operations
    gate_proj: Any
    up_proj: Any
    down_proj: Any
    act_fn: Any

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden] in and out."""
        ops, gate, up = self.fused, self.gate_proj, self.up_proj
        plain = all(is_plain(module) for module in (gate, up, self.act_fn))
        if plain and gate.bias is up.bias is None:
            x = ops.gated(x, gate.weight, up.weight)
        else:
            x = self.act_fn(gate(x)) * up(x)
        return _linear(ops, self.down_proj, x)


class FusedQwen2MLP(FusedMLP, Qwen2MLP):  # type: ignore[misc]
    """Qwen2's."""


class FusedQwen3MLP(FusedMLP, Qwen3MLP):  # type: ignore[misc]
    """Qwen3's."""


class FusedLayer(nn.Module):
    """One decoder layer, pre-norm."""

    fused: Operations
    self_attn: Any
    mlp: Any
    input_layernorm: Any
    post_attention_layernorm: Any

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        """As in transformers: [batch, length, hidden] in and out."""
        ops = self.fused
        x = _norm(ops, self.input_layernorm, hidden_states)
        out, _ = self.self_attn(hidden_states=x, **kwargs)
        norm = self.post_attention_layernorm
        if is_plain(norm):
            x, residual = ops.add_rms_norm(out, hidden_states, norm.weight, norm.variance_epsilon)
        else:
            residual = hidden_states + out
            x = norm(residual)
        made: Tensor = residual + self.mlp(x)
        return made


class FusedQwen2Layer(FusedLayer, Qwen2DecoderLayer):  # type: ignore[misc]
    """Qwen2's and Qwen2.5's."""


class FusedQwen3Layer(FusedLayer, Qwen3DecoderLayer):  # type: ignore[misc]
    """Qwen3's."""


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


class FusedLinear(nn.Linear):
    """A linear layer that an adapter wraps."""

    fused: Operations

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return self.fused.linears(x, [self.weight], [self.bias])[0]


LAYERS: dict[type[nn.Module], type[nn.Module]] = {
    Qwen2DecoderLayer: FusedQwen2Layer,
    Qwen3DecoderLayer: FusedQwen3Layer,
}
ATTENTIONS: dict[type[nn.Module], type[nn.Module]] = {
    Qwen2Attention: FusedQwen2Attention,
    Qwen3Attention: FusedQwen3Attention,
}
MLPS: dict[type[nn.Module], type[nn.Module]] = {
    Qwen2MLP: FusedQwen2MLP,
    Qwen3MLP: FusedQwen3MLP,
}
NORMS: dict[type[nn.Module], type[nn.Module]] = {
    Qwen2RMSNorm: FusedQwen2Norm,
    Qwen3RMSNorm: FusedQwen3Norm,
}
SILU = (nn.SiLU, SiLUActivation)
_PLAIN = {nn.Linear, nn.Embedding, *NORMS, *SILU}


def is_plain(module: nn.Module) -> bool:
    """Whether a module does nothing but its class' arithmetic, so that an operation may stand in.

    Not an adapter, not another kind of norm, and nothing that hooks look at: those are called.
    """
    return (
        type(module) in _PLAIN
        and "forward" not in module.__dict__
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and not module._backward_hooks
        and not module._backward_pre_hooks
    )


def _heads(ops: Operations, attention: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values: [batch, length, heads, width] each."""
    projections = [attention.q_proj, attention.k_proj, attention.v_proj]
    if all(is_plain(layer) for layer in projections):
        weights = [layer.weight for layer in projections]
        parts = ops.linears(x, weights, [layer.bias for layer in projections])
    else:
        parts = [layer(x) for layer in projections]
    q, k, v = (part.view(*part.shape[:-1], -1, attention.head_dim) for part in parts)
    if hasattr(attention, "q_norm"):
        q, k = _norm(ops, attention.q_norm, q), _norm(ops, attention.k_norm, k)
        if v.dtype != q.dtype:  # under autocast the norm's fp32 gain widens them
            q, k = q.to(v.dtype), k.to(v.dtype)
    return q, k, v


def _norm(ops: Operations, norm: Any, x: Tensor) -> Tensor:
    if is_plain(norm):
        return ops.rms_norm(x, norm.weight, norm.variance_epsilon)
    made: Tensor = norm(x)
    return made


def _linear(ops: Operations, layer: Any, x: Tensor) -> Tensor:
    if is_plain(layer):
        return ops.linears(x, [layer.weight], [layer.bias])[0]
    made: Tensor = layer(x)
    return made
