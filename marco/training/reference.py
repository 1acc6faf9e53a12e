"""The reference of a preference run: what the model, as the run starts, makes of every pair.

One pass over the pairs, shared out over the processes, before the first step; then the reference
model is needed no more. The numbers are kept in the run's folder, which a resumed run reads, and in
the cache under a hash of the weights, the pairs and the arithmetic, for other runs from the same
model, as a sweep's are.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.distributed.tensor import DTensor

from marco.data.packing import best_fit
from marco.data.stores import Source
from marco.data.windows import Piece, read_window
from marco.errors import CheckpointError
from marco.kernels.cache_folder import cache_folder
from marco.objectives.causal_lm import CausalLanguageModel
from marco.objectives.pair_loss import sequence_sums
from marco.objectives.reference import ReferenceTable

log = logging.getLogger(__name__)

T = TypeVar("T")

#: In a run's folder.
FILE = "reference.safetensors"


def reference_table(
    model: CausalLanguageModel,
    sources: Sequence[Source],
    folder: Path,
    *,
    length: int,
    rows: int,
    device: torch.device,
    arithmetic: str,
    resumed: bool,
    context: AbstractContextManager[Any],
) -> ReferenceTable:
    """Return the log-probabilities of both answers of every pair; every process calls it at once.

    Args:
        model: on its device, sharded if it will be, with the weights that are the reference.
        sources: of pairs (`marco.data.preference`).
        folder: the run's.
        length, rows: of a forward.
        device: the model's.
        arithmetic: what else the numbers depend on, such as kernels and precision.
        resumed: whether `model` may be another by now, and `folder` must have the numbers.
        context: the precision that training computes in.

    Raises:
        CheckpointError: a resumed run whose numbers are gone or of other pairs.
    """
    stores = [source.store for source in sources]
    first = not dist.is_initialized() or dist.get_rank() == 0
    own = folder / FILE
    if resumed:
        found = _read(own, sources)
        if found is None:
            raise CheckpointError(
                f"{own}: gone, damaged, or of other pairs. The reference's log-probabilities were "
                "there; start a new run from the model that this one began with."
            )
        return ReferenceTable(stores, found)
    place = cache_folder() / "reference" / f"{_key(model, sources, length, arithmetic)}.safetensors"
    found = _read(place, sources)
    if not all(_gathered(found is not None)):  # another machine's cache may lack it
        found = None
    log.info(
        "Reference: log-probabilities of %s pairs %s.",
        f"{sum(store.documents for store in stores):,}",
        "computed now" if found is None else f"read from {place.parent}",
    )
    if found is None:
        with torch.no_grad(), context:
            found = [_log_probs(model, source, length, rows, device) for source in sources]
        if first:
            with suppress(OSError):
                _write(found, sources, place)
    if first:
        _write(found, sources, own)
    return ReferenceTable(stores, found)


def _log_probs(
    model: CausalLanguageModel, source: Source, length: int, rows: int, device: torch.device
) -> Tensor:
    """Return [pairs, 2] float32: chosen, rejected."""
    store = source.store
    ends = store.ends(0, store.documents)
    starts = np.concatenate([[0], ends[:-1]])
    windows = best_fit(list(zip(starts.tolist(), ends.tolist(), strict=True)), length)
    found = torch.zeros(store.documents, 2, device=device)
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    for first in range(0, len(windows), rows * world):
        own = windows[first + rank * rows :][:rows]
        # Sharded weights are gathered by all at once, so that a process without work does some too.
        batch = own or windows[:rows]
        sums = _sums(model, source, batch, length, device)
        for pieces, row in zip(own, sums, strict=False):
            places = np.searchsorted(ends, [start for start, _ in pieces], side="right")
            found[torch.from_numpy(places)] = -row[: len(pieces)]
    if world > 1:
        dist.all_reduce(found)  # every pair is zero but on one process
    return found.cpu()


def _sums(
    model: CausalLanguageModel,
    source: Source,
    batch: list[list[Piece]],
    length: int,
    device: torch.device,
) -> Tensor:
    no_bytes = np.zeros(model.network.config.vocab_size, np.int64)
    read = [read_window(source, pieces, length, no_bytes) for pieces in batch]
    ids, positions, labels = (
        torch.from_numpy(np.stack([getattr(window, key) for window in read])).to(device)
        for key in ("input_ids", "position_ids", "labels")
    )
    pairs = max(len(pieces) for pieces in batch)
    sums, _ = sequence_sums(model(ids, positions, labels), positions, labels, pairs)
    return sums


def _key(
    model: CausalLanguageModel, sources: Sequence[Source], length: int, arithmetic: str
) -> str:
    """Return a SHA-256 of all that the numbers depend on; the same on every process."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        digest.update(f"{name}:{local.dtype}:{tuple(local.shape)}:".encode())
        digest.update(local.detach().reshape(-1).view(torch.uint8).cpu().numpy().data)
    pairs = [(source.name, source.content) for source in sources]
    digest.update(f"{pairs}{length}{arithmetic}".encode())
    shards = _gathered(digest.hexdigest())
    return hashlib.sha256("".join(sorted(set(shards))).encode()).hexdigest()


def _read(path: Path, sources: Sequence[Source]) -> list[Tensor] | None:
    """Return the numbers, where the file is sound and of as many pairs; None where it is not."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError):
        return None
    found = [tensors.get(source.name) for source in sources]
    kept = [
        tensor
        for source, tensor in zip(sources, found, strict=True)
        if tensor is not None and tensor.shape == (source.store.documents, 2)
    ]
    return kept if len(kept) == len(found) else None


def _write(found: list[Tensor], sources: Sequence[Source], path: Path) -> None:
    named = {source.name: tensor for source, tensor in zip(sources, found, strict=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(save(named))
    beside.replace(path)


def _gathered(value: T) -> list[T]:
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
