"""The tensors of a model and its optimizer under one set of names, whatever wraps the model.

Names are those of the plain model's ``named_parameters()``, so that a checkpoint written under
FSDP2 loads into a plain module, into DDP, or onto another number of processes. Why not
``torch.distributed.checkpoint.state_dict``: its setter goes through `Optimizer.load_state_dict`,
which casts every state tensor to its parameter's type (fp32 master weights of bf16 parameters
would lose 16 bits); its getter *takes an optimizer step* when there is no state yet, so that saving
at step 0 changes what follows; and tied weights would be stored twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel

from marco.errors import CheckpointError
from marco.training.checkpoints.files import check_json, sha256_of_json
from marco.training.checkpoints.stored import check_dtype

_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")  # torch.compile, activation checkpointing
# How the arithmetic is carried out is this run's choice, not the saved one's.
_NOT_RESTORED = frozenset(
    {"params", "param_names", "fused", "foreach", "capturable", "differentiable", "lr_scale"}
)


@dataclass(frozen=True)
class ModelTensors:
    """Parameters and persistent buffers of a model by name, each tied weight once."""

    architecture: str
    tensors: dict[str, torch.Tensor]

    @property
    def fingerprint(self) -> str:
        """The sha256 over the architecture and every name and global shape."""
        shapes = {name: list(tensor.shape) for name, tensor in self.tensors.items()}
        return sha256_of_json([self.architecture, shapes])


def model_tensors(model: nn.Module) -> ModelTensors:
    """Name the tensors of ``model``: plain, compiled, in DDP, or sharded with ``fully_shard``."""
    while True:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            break
    tensors: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, FullyShardedDataParallel):
            raise CheckpointError("FSDP1 is not supported; shard with FSDP2 (fully_shard)")
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise CheckpointError(
                f"{name or type(module).__name__} keeps extra state outside its tensors, "
                "which a checkpoint does not hold"
            )
        if isinstance(module, FSDPModule):
            # After a forward without a backward the root still shows its gathered parameters,
            # which are not those the optimizer knows.
            module.reshard()
    tensors.update(model.named_parameters())
    for name, module in model.named_modules():
        for key, buffer in module.named_buffers(recurse=False):
            if key not in module._non_persistent_buffers_set:
                tensors[f"{name}.{key}" if name else key] = buffer
    tensors = {_plain(name): tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        check_dtype(name, tensor)
    cls = type(model)
    # fully_shard gives the module a new class, FSDP<Name>(FSDPModule, Name).
    architecture = (cls.__bases__[-1] if isinstance(model, FSDPModule) else cls).__name__
    return ModelTensors(architecture, tensors)


def _plain(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def optimizer_state(
    model: ModelTensors, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Split an optimizer into tensors, by ``<key>/<parameter>``, and JSON-able settings.

    The settings are ``{"groups": [{"params": [name], "options": {…}}], "values": {name: {…}}}``;
    ``values`` are states that are not tensors. Nothing is stepped, cast or copied.
    """
    names = _parameter_names(model, optimizer)
    tensors: dict[str, torch.Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for parameter, state in optimizer.state.items():
        if not isinstance(parameter, torch.Tensor) or id(parameter) not in names:
            raise CheckpointError("the optimizer keeps state for something that is no parameter")
        name = names[id(parameter)]
        for key, value in state.items():
            if not isinstance(key, str) or "/" in key:
                raise CheckpointError(f"the optimizer's state has the key {key!r}")
            if isinstance(value, torch.Tensor):
                check_dtype(f"{key} of {name}", value)
                tensors[f"{key}/{name}"] = value
            else:
                values.setdefault(name, {})[key] = value
    settings = {
        "groups": [
            {
                "params": [names[id(parameter)] for parameter in group["params"]],
                "options": {
                    key: value.item() if isinstance(value, torch.Tensor) else value
                    for key, value in group.items()
                    if key not in _NOT_RESTORED
                },
            }
            for group in optimizer.param_groups
        ],
        "values": values,
    }
    check_json(settings, "optimizer")
    return tensors, settings


def empty_optimizer_state(
    model: ModelTensors,
    optimizer: torch.optim.Optimizer,
    stored: Mapping[str, TensorStorageMetadata],
) -> dict[str, torch.Tensor]:
    """Return unfilled tensors for ``stored`` (``<key>/<parameter>``), in their stored types.

    A state of its parameter's shape is sharded as the parameter is. ``step`` lives on the CPU
    unless the optimizer is fused or capturable, as `torch.optim` has it.
    """
    names = _parameter_names(model, optimizer)
    owners: dict[str, tuple[torch.Tensor, dict[str, Any]]] = {
        names[id(parameter)]: (parameter, group)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    filled: dict[str, torch.Tensor] = {}
    for full_name, saved in stored.items():
        key, name = full_name.split("/", 1)
        if name not in owners:
            raise CheckpointError(
                f"the checkpoint has optimizer state for {name}, which this optimizer does not hold"
            )
        parameter, group = owners[name]
        dtype = saved.properties.dtype
        if saved.size == parameter.shape and saved.size:
            filled[full_name] = torch.empty_like(parameter.detach(), dtype=dtype)
        else:
            on_device = key != "step" or group.get("fused") or group.get("capturable")
            device = parameter.device if on_device else torch.device("cpu")
            filled[full_name] = torch.empty(saved.size, dtype=dtype, device=device)
    return filled


def apply_optimizer_state(
    model: ModelTensors,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
) -> None:
    """Give ``optimizer`` the state read from a checkpoint: exactly, without a cast or a step."""
    check_groups(model, optimizer, settings)
    parameters = model.tensors
    optimizer.state.clear()
    for full_name, tensor in tensors.items():
        key, name = full_name.split("/", 1)
        optimizer.state[parameters[name]][key] = tensor
    for name, values in settings["values"].items():
        optimizer.state[parameters[name]].update(values)
    for group, saved in zip(optimizer.param_groups, settings["groups"], strict=True):
        for key, value in saved["options"].items():
            current = group.get(key)
            if isinstance(current, torch.Tensor):
                current.fill_(value)
            else:
                group[key] = tuple(value) if isinstance(current, tuple) else value


def check_groups(
    model: ModelTensors, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]
) -> None:
    """Raise `CheckpointError` unless the parameters are grouped as they were when saved."""
    names = _parameter_names(model, optimizer)
    current = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    saved = [group["params"] for group in settings["groups"]]
    if len(current) != len(saved):
        raise CheckpointError(
            f"the checkpoint's optimizer has {len(saved)} parameter groups, this one {len(current)}"
        )
    for number, (here, there) in enumerate(zip(current, saved, strict=True)):
        if differing := sorted(set(here) ^ set(there)):
            raise CheckpointError(
                f"the optimizer's parameter group {number} differs from the checkpoint's: "
                f"{', '.join(differing[:3])} is in one of them only"
            )


def size_in_bytes(tensors: Mapping[str, torch.Tensor]) -> int:
    """Return how many bytes ``tensors`` take on disk, over all processes, each shard once."""
    return sum(prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors.values())


def _parameter_names(model: ModelTensors, optimizer: torch.optim.Optimizer) -> dict[int, str]:
    names = {id(tensor): name for name, tensor in model.tensors.items()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) not in names:
                raise CheckpointError(
                    f"the optimizer holds a parameter of shape {list(parameter.shape)} that is "
                    "not the model's: build it after the model is wrapped, from its parameters"
                )
    return names
