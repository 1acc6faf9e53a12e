"""A decoder layer of Qwen2 or Qwen3 as generation takes it apart: around its attention."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from torch import Tensor

from marco.evaluation.lm.generate_products import joined
from marco.kernels.torch_path import native
from marco.kernels.torch_path.swiglu import swiglu
from marco.models.fused_layers import is_plain
from marco.models.operations import Operations, operations

_swiglu = native.on(swiglu)


class Layer:
    """Norms, products and rotation; tokens are [tokens, hidden], heads [tokens, heads, width].

    Its products are ordered for ``rows`` tokens at once. What something has replaced is called.
    """

    def __init__(self, layer: Any, ops: Operations, rows: int) -> None:
        self._layer, self._ops = layer, ops
        attention, mlp = layer.self_attn, layer.mlp
        self._attention, self._mlp = attention, mlp
        self.scaling: float = attention.scaling
        self.kv_heads = attention.config.num_key_value_heads
        self.width: int = attention.head_dim
        projections = [attention.q_proj, attention.k_proj, attention.v_proj]
        self._qkv = joined(projections, rows)
        self._outs = [attention.config.num_attention_heads, self.kv_heads, self.kv_heads]
        self._o = joined([attention.o_proj], rows) or attention.o_proj
        self._gate_up = joined([mlp.gate_proj, mlp.up_proj], rows) if is_plain(mlp.act_fn) else None
        self._down = joined([mlp.down_proj], rows) or mlp.down_proj

    def heads(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, of the layer's input."""
        attention, ops = self._attention, self._ops
        x = self._norm(self._layer.input_layernorm, hidden)
        if self._qkv is None:
            parts = [attention.q_proj(x), attention.k_proj(x), attention.v_proj(x)]
            q, k, v = (part.view(len(x), -1, self.width) for part in parts)
        else:
            q, k, v = self._qkv(x).view(len(x), -1, self.width).split(self._outs, dim=1)  # type: ignore[no-untyped-call]
        if hasattr(attention, "q_norm"):
            q, k = self._norm(attention.q_norm, q), self._norm(attention.k_norm, k)
        q, k = ops.rope(q.to(v.dtype)[None], k.to(v.dtype)[None], cos, sin)
        return q[0], k[0], v

    def rest(self, mixed: Tensor, residual: Tensor) -> Tensor:
        """What follows attention: its output product, the MLP, and both sums."""
        norm, out = self._layer.post_attention_layernorm, self._o(mixed.flatten(1))
        if is_plain(norm):
            x, residual = self._ops.add_rms_norm(out, residual, norm.weight, norm.variance_epsilon)
        else:
            residual = residual + out
            x = norm(residual)
        mlp = self._mlp
        if self._gate_up is not None:
            x = _swiglu(self._gate_up(x))
        else:
            x = mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x)
        return residual + self._down(x)

    def _norm(self, norm: Any, x: Tensor) -> Tensor:
        if is_plain(norm):
            return self._ops.rms_norm(x, norm.weight, norm.variance_epsilon)
        made: Tensor = norm(x)
        return made


def operations_on(device: str) -> Operations:
    """The operations for a kind of device, whatever the model itself was given."""
    if device == "cuda" and find_spec("triton") is not None:
        return operations("triton")
    return operations("native" if device == "cpu" and native.available() else "torch")
