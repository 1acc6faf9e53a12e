"""Cutting a model into shards over processes."""

from __future__ import annotations

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from marco.objectives.causal_lm import CausalLanguageModel


def shard(model: CausalLanguageModel, mesh: DeviceMesh) -> None:
    """Apply FSDP2 in place: one group a decoder layer, and the rest with the root.

    The root keeps the embedding, the last norm and the head, which its own forward uses.
    """
    for layer in model.network.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
