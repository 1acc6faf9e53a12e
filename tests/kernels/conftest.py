"""What kernel tests share: poisoned memory, and both ways of making the passes.

Memory from `torch.empty` and its like is NaN here: an element left unwritten fails a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._device import _device_constructors

from marco.kernels.torch_path import native

# torch remembers, once, which functions `with torch.device(…)` is about: the real ones, not ours.
_device_constructors()


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def made(*args: Any, **options: Any) -> torch.Tensor:
            tensor = make(*args, **options)
            if tensor.is_floating_point():
                tensor.detach().fill_(torch.nan)
            return tensor

        return made

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poisoned(getattr(owner, name)))


@pytest.fixture(params=["torch", "native"])
def passes(request: pytest.FixtureRequest) -> Iterator[str]:
    """The passes between products in plain torch, and in C++."""
    assert native.available(), "kernels=native needs g++"
    token = native._ON.set(request.param == "native")
    yield request.param
    native._ON.reset(token)
