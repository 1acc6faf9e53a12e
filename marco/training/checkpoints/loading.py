"""Reading a checkpoint into a model and an optimizer, checked before anything changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load

from marco.errors import CheckpointError
from marco.training.checkpoints import rng
from marco.training.checkpoints.dcp import prefixed, run_dcp
from marco.training.checkpoints.files import read_json
from marco.training.checkpoints.manifest import Manifest, problems_of_files, read_manifest
from marco.training.checkpoints.ranks import each, rank, world_size
from marco.training.checkpoints.reader import SafetensorsReader
from marco.training.checkpoints.tensors import (
    ModelTensors,
    apply_optimizer_state,
    check_groups,
    empty_optimizer_state,
    model_tensors,
)
from marco.training.weight_average import EMA


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint held besides the tensors, which are now in the model and optimizer.

    ``rng_restored`` is False on another number of processes: seed the generators anew, from the
    config's seed and ``step``.
    """

    progress: dict[str, Any]
    rng_restored: bool
    step: int
    tokens: int
    manifest: Manifest


def load(
    path: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    tokenizer_fingerprint: str | None,
    restore_rng: bool = True,
    check_hashes: bool = True,
    average: bool = False,
) -> Loaded:
    """Read the checkpoint ``path`` into ``model`` and ``optimizer``, in place and bit for bit.

    The number of processes and the wrapping (plain, DDP, FSDP2) may differ from the writer's.
    Without an optimizer only the model is read, cast to its types. ``tokenizer_fingerprint=None``
    skips that check; ``check_hashes=False`` saves reading everything twice after `latest`.
    ``average`` gives the model the moving average of its weights where the optimizer kept one (what
    is frozen has none), and takes no optimizer.
    Raises `CheckpointError`: damaged, another model, tokenizer or format. All that is
    checked before the first tensor changes.
    """
    named = model_tensors(model)

    def check() -> tuple[Manifest, SafetensorsReader, dict[str, torch.Tensor], dict[str, Any]]:
        manifest = read_manifest(path)
        # One process reads every byte; the others look at names and sizes.
        problems = problems_of_files(path, manifest, hashes=check_hashes and rank() == 0)
        if problems:
            raise CheckpointError(f"{path} is damaged: {'; '.join(problems)}")
        if tokenizer_fingerprint not in (None, manifest.tokenizer_fingerprint):
            raise CheckpointError(
                f"{path} was written with another tokenizer: fingerprint "
                f"{manifest.tokenizer_fingerprint[:12]}…, this run's is "
                f"{str(tokenizer_fingerprint)[:12]}…"
            )
        reader = SafetensorsReader(
            path / "state",
            {name.removeprefix("state/") for name in manifest.files if name.startswith("state/")},
        )
        _check_same_model(path, manifest, named, reader, types=optimizer is not None)
        state: dict[str, torch.Tensor] = {}
        settings: dict[str, Any] = {}
        if optimizer is not None:
            if "optimizer.json" not in manifest.files:
                raise CheckpointError(f"{path} holds no optimizer: it can be loaded, not resumed")
            settings = read_json(path / "optimizer.json")
            check_groups(named, optimizer, settings)
            state = empty_optimizer_state(named, optimizer, reader.tensors("optimizer"))
        return manifest, reader, state, settings

    manifest, reader, state, settings = each(check)
    progress = each(lambda: read_json(path / "progress.json"))
    tensors = prefixed("model", named.tensors) | prefixed("optimizer", state)
    if average:
        stored = each(lambda: averaged(path, reader))
        tensors = {stored.get(name, name): tensor for name, tensor in tensors.items()}
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    run_dcp(lambda: dcp_load(tensors, storage_reader=reader, planner=planner))
    if optimizer is not None:
        apply_optimizer_state(named, optimizer, state, settings)
    same_world = restore_rng and manifest.world_size == world_size()
    if same_world:
        each(lambda: rng.restore(path / rng.rng_file(rank())))
    return Loaded(progress, same_world, manifest.step, manifest.tokens, manifest)


def averaged(path: Path, reader: SafetensorsReader) -> dict[str, str]:
    """Return a weight's name in a checkpoint → that of its moving average.

    Raises:
        CheckpointError: it keeps none.
    """
    found = [name for name in reader.tensors("optimizer") if name.startswith(f"{EMA}/")]
    if not found:
        raise CheckpointError(f"{path} holds no moving average: its run had optimizer.ema=null.")
    return {f"model/{name.removeprefix(f'{EMA}/')}": f"optimizer/{name}" for name in found}


def _check_same_model(
    path: Path, manifest: Manifest, named: ModelTensors, reader: SafetensorsReader, *, types: bool
) -> None:
    saved = reader.tensors("model")
    differences = []
    for name, tensor in named.tensors.items():
        if name not in saved:
            differences.append(f"{name} is not in the checkpoint")
        elif saved[name].size != tensor.shape:
            shapes = f"{list(saved[name].size)}, in this model {list(tensor.shape)}"
            differences.append(f"{name} has the shape {shapes}")
        elif types and saved[name].properties.dtype != tensor.dtype:
            kinds = f"{saved[name].properties.dtype}, in this model {tensor.dtype}"
            differences.append(f"{name} has the type {kinds}")
    differences += [f"{name} is not in this model" for name in saved if name not in named.tensors]
    if not differences and manifest.architecture != named.architecture:
        differences.append(f"it is a {manifest.architecture}, this model a {named.architecture}")
    if differences:
        more = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise CheckpointError(f"{path} is of another model: {'; '.join(differences[:3])}{more}")
