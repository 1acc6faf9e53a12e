"""The state of the random generators of one process (Python, NumPy, torch, CUDA), as JSON."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marco.errors import CheckpointError
from marco.training.checkpoints.files import read_json


def rng_file(rank: int) -> str:
    """Return the name of process ``rank``'s file inside a checkpoint."""
    return f"rng/rank-{rank:05d}.json"


def capture() -> dict[str, Any]:
    """Return the state of every generator of this process, as JSON-able values."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    # A run on the CPU of a machine with a GPU must not open a CUDA context for this.
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "python": [version, list(words), gauss],
        "numpy": [kind, np.asarray(keys).tolist(), position, has_gauss, cached],
        "torch": _hex(torch.get_rng_state()),
        "cuda": _hex(torch.cuda.get_rng_state()) if cuda else None,
    }


def restore(path: Path) -> None:
    """Set every generator of this process to the state in the file ``path``.

    A CUDA state is left aside where there is no such device now.
    """
    saved = read_json(path)
    try:
        version, words, gauss = saved["python"]
        random.setstate((version, tuple(words), gauss))
        kind, keys, position, has_gauss, cached = saved["numpy"]
        np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
        torch.set_rng_state(_bytes(saved["torch"]))
        if saved["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(_bytes(saved["cuda"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} holds no random state of this version: {error}") from error


def _hex(state: torch.Tensor) -> str:
    return bytes(state.tolist()).hex()


def _bytes(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
