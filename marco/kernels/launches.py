"""Launching a Triton kernel where its tensors are, and counting it for whoever asks afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: Launches by name since the process began.
LAUNCHES: Counter[str] = Counter()


def launch(name: str, run: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Run `kernel[grid]` on `args`, counted under `name`.

    Triton launches on the current device and its stream, whatever device the tensors are on: the
    first argument's is made the current one for the moment.
    """
    LAUNCHES[name] += 1
    first: Tensor = args[0]
    if first.is_cuda and first.device.index != torch.cuda.current_device():
        with torch.cuda.device(first.device):
            run(*args, **options)
    else:
        run(*args, **options)
