"""Writing a checkpoint: beside, hashed, synced, renamed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save

from marco.training.checkpoints import folder as folders
from marco.training.checkpoints import rng
from marco.training.checkpoints.dcp import prefixed, run_dcp
from marco.training.checkpoints.files import check_json, sha256_of_json, sync_folder, write_json
from marco.training.checkpoints.manifest import Manifest, now, package_versions, record_files
from marco.training.checkpoints.ranks import CheckpointWriteError, rank, together, world_size
from marco.training.checkpoints.retention import METRICS
from marco.training.checkpoints.tensors import (
    ModelTensors,
    model_tensors,
    optimizer_state,
    size_in_bytes,
)
from marco.training.checkpoints.writer import SafetensorsWriter

_SLACK_BYTES = 1 << 20  # JSON, random state and the file system's own, beyond the tensors


def save(
    folder: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    progress: Mapping[str, Any],
    config: Mapping[str, Any],
    tokenizer_fingerprint: str,
    step: int,
    tokens: int,
    metrics: Mapping[str, float] | None = None,
) -> Path:
    """Write ``folder/step-<step>`` and return it; an older one of that step is replaced.

    ``progress`` (process 0's is kept) and ``config`` (resolved, without secrets) are JSON-able.
    Raises `CheckpointWriteError` on every process when any of them could not write (full disk,
    read-only folder); earlier checkpoints are untouched and nothing is left behind. Raises
    `CheckpointError` for state a checkpoint cannot hold.
    """
    named = model_tensors(model)
    tensors, settings = _state(named, optimizer)
    progress, config = dict(progress), dict(config)
    final = folder / folders.name_of(step)

    def prepare() -> Path:
        # Inside the agreement: what callbacks keep may differ between processes.
        check_json(progress, "progress")
        check_json(config, "config")
        temporary = folder / folders.temporary_name(step)
        if rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            folders.clean_up(folder)
            _check_space(folder, size_in_bytes(tensors) + _SLACK_BYTES)
            for part in ("state", "rng"):
                (temporary / part).mkdir(parents=True)
        return temporary

    def finish() -> None:
        if rank() != 0:
            return
        write_json(temporary / "progress.json", progress)
        if optimizer is not None:
            write_json(temporary / "optimizer.json", settings)
        hashed = {f"state/{name}": record for name, record in writer.records.items()}
        Manifest(
            step=step,
            tokens=tokens,
            world_size=world_size(),
            architecture=named.architecture,
            model_fingerprint=named.fingerprint,
            tokenizer_fingerprint=tokenizer_fingerprint,
            config=config,
            config_hash=sha256_of_json(config),
            written_at=now(),
            packages=package_versions(),
            files=record_files(temporary, hashed),
        ).write(temporary)
        if metrics:
            write_json(temporary / METRICS, dict(metrics))
        for part in (temporary / "state", temporary / "rng", temporary):
            sync_folder(part)
        folders.publish(temporary, final)
        sync_folder(folder)
        folders.point_last(folder)

    temporary = folder / folders.temporary_name(step)
    try:
        temporary = together(prepare)[0]
        writer = SafetensorsWriter(temporary / "state", rank())
        planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        run_dcp(lambda: dcp_save(tensors, storage_writer=writer, planner=planner))
        together(lambda: write_json(temporary / rng.rng_file(rank()), rng.capture()))
        together(finish)
    except (OSError, CheckpointWriteError) as error:
        raise CheckpointWriteError(f"{final} could not be written: {error}") from error
    finally:
        if rank() == 0:
            shutil.rmtree(temporary, ignore_errors=True)
    return final


def _state(
    named: ModelTensors, optimizer: torch.optim.Optimizer | None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors = prefixed("model", named.tensors)
    if optimizer is None:
        return tensors, {}
    state, settings = optimizer_state(named, optimizer)
    return tensors | prefixed("optimizer", state), settings


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointWriteError(
            f"{folder} has {free / 1e9:.3g} GB free, a checkpoint takes {needed / 1e9:.3g} GB"
        )
