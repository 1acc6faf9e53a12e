"""Calling torch.distributed.checkpoint: one naming, and failures that every process agrees on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import torch
from torch.distributed.checkpoint.api import CheckpointException

from marco.errors import CheckpointError
from marco.training.checkpoints.ranks import CheckpointWriteError, distributed


def prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return ``tensors`` detached and named ``<prefix>/<name>``."""
    # Detached tensors share their storage, so that reading fills the model itself.
    return {f"{prefix}/{name}": tensor.detach() for name, tensor in tensors.items()}


def run_dcp(action: Callable[[], object]) -> None:
    """Run a call of torch.distributed.checkpoint; it fails on every process or on none.

    DCP wraps every failure, Ctrl-C included, in an exception that is no `Exception`.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            action()
    except CheckpointException as wrapped:
        failures = {number: error for number, (error, _) in sorted(wrapped.failures.items())}
        for error in failures.values():
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise error from None
        text = "; ".join(
            (f"process {number}: " if distributed() else "")
            + (str(error) if isinstance(error, CheckpointError) else f"{_name(error)}: {error}")
            for number, error in failures.items()
        )
        writing = all(isinstance(error, OSError) for error in failures.values())
        error_type = CheckpointWriteError if writing else CheckpointError
        raise error_type(text) from next(iter(failures.values()), None)


def _name(error: BaseException) -> str:
    return type(error).__name__
