"""Putting fused layers into a model of transformers, where they compute what its own do.

The model's own modules become instances of subclasses: gradient checkpointing, FSDP2, output
recording and adapters go on working, parameters and their names do not change, and no other
model of the process is touched.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from marco.models.attention import register
from marco.models.fused_layers import (
    ATTENTIONS,
    LAYERS,
    MLPS,
    NORMS,
    SILU,
    FusedLayer,
    FusedLinear,
)
from marco.models.operations import operations


def fuse(network: PreTrainedModel, backend: Literal["triton", "torch", "native"]) -> str:
    """Install a backend's operations in this model; returns a line for the log."""
    reason = why_not(network)
    if reason is not None:
        return f"Kernels: transformers' own layers are used: {reason}."
    layers, ops = layers_of(network), operations(backend)
    norm = network.base_model.norm
    # What has taken the place of an MLP or of the last norm is called as it is.
    fusable = LAYERS | ATTENTIONS | MLPS | NORMS
    for module in (*layers, *(x for y in layers for x in (y.self_attn, y.mlp)), norm):
        if type(module) in fusable:
            module.__class__ = fusable[type(module)]
            module.fused = ops
    for module in [base for layer in layers for base in _adapted(layer)]:
        module.__class__ = FusedLinear
        module.fused = ops
    _own_config(network)._attn_implementation = register()
    return f"Kernels: {backend}, {len(layers)} fused layers."


def _adapted(layer: nn.Module) -> list[Any]:
    """The linear layers inside of adapters, which call them."""
    inner = (getattr(module, "base_layer", None) for module in layer.modules())
    return [module for module in inner if type(module) is nn.Linear]


def why_not(network: PreTrainedModel) -> str | None:
    """What there is about a model that the fused layers would compute otherwise, or None."""
    layers = layers_of(network)
    if not layers:
        return f"there are none for {type(network).__name__}, which has no decoder layers"
    for number, layer in enumerate(layers):
        if type(layer) not in LAYERS:
            return f"there are none for {type(layer).__name__}"
        attention, mlp = layer.self_attn, layer.mlp
        if type(attention) not in ATTENTIONS:
            return f"there are none for {type(attention).__name__} (layer {number})"
        if attention.attention_dropout > 0:
            return (
                f"attention_dropout={attention.attention_dropout}, which the fused attention "
                "does not apply"
            )
        if type(mlp) in MLPS and type(mlp.act_fn) not in SILU:
            return f"the activation is {type(mlp.act_fn).__name__}, that of fused MLPs is silu"
    return None


def layers_of(network: PreTrainedModel) -> Sequence[Any]:
    """The decoder layers, with a head above them or without; none where they are not `layers`."""
    found: Sequence[Any] = getattr(network.base_model, "layers", ())
    return found


def _own_config(network: PreTrainedModel) -> PreTrainedConfig:
    """Give the model a config of its own: models made from one config share the object."""
    shared, own = network.config, copy.deepcopy(network.config)
    for module in network.modules():
        if getattr(module, "config", None) is shared:
            module.config = own
    return own


def is_fused(network: PreTrainedModel) -> bool:
    """Whether `fuse` has been here."""
    return any(isinstance(layer, FusedLayer) for layer in layers_of(network))
