"""A model that is sharded over processes, whole on each of them for as long as it is evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from marco.models.kernels import Backend, install

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def gathered(network: PreTrainedModel, backend: Backend) -> PreTrainedModel:
    """Return the model itself, or where it is sharded (FSDP2) a copy with all of its weights.

    The scorer and the generator run layers in ways of their own, outside of the forward in which
    FSDP2 would gather them. A collective: every process calls it, and each has room for all weights
    in their type, without gradients and optimizer, until it lets the copy go.

    Args:
        network: of transformers.
        backend: the kernels that a copy gets.
    """
    if not any(isinstance(parameter, DTensor) for parameter in network.parameters()):
        return network
    weights = {name: _whole(tensor) for name, tensor in network.state_dict().items()}
    with torch.device("meta"):
        copy: Any = AutoModelForCausalLM.from_config(network.config, dtype=network.dtype)
    copy.load_state_dict(weights, assign=True)
    copy.tie_weights()
    # What is no weight (the rotary angles) is in no state dict, and is on no shard either.
    for module, original in zip(copy.modules(), network.modules(), strict=True):
        for name, buffer in original.named_buffers(recurse=False):
            module.register_buffer(name, buffer.detach().clone(), persistent=False)
    copy.generation_config = network.generation_config
    install(copy, backend)
    return copy.eval().requires_grad_(False)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach().clone()
