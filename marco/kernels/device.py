"""What the choice of a kernel's blocks needs to know of the GPU that it will run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels.chips import CHIPS, Chip


@dataclass(frozen=True)
class Device:
    """One GPU.

    Attributes:
        name: as its driver gives it.
        arch: 90 for compute capability 9.0; AMD: "gfx942".
        processors: multiprocessors (AMD: compute units).
        shared: the most bytes of shared memory (AMD: LDS) that a block may have.
        lanes: threads of a warp (AMD: of a wavefront).
    """

    name: str
    arch: int | str
    processors: int
    shared: int
    lanes: int

    @classmethod
    def of(cls, chip: Chip) -> Device:
        """A chip that need not be here."""
        return cls(chip.name, chip.arch, chip.processors, chip.shared_a_block, chip.warp)

    @property
    def amd(self) -> bool:
        """Whether it is AMD's."""
        return isinstance(self.arch, str)


_assumed = ContextVar("assumed", default=CHIPS["h100"])


@contextmanager
def assuming(chip: Chip) -> Iterator[None]:
    """In the block, tensors that are on no GPU count as on this chip."""
    token = _assumed.set(chip)
    try:
        yield
    finally:
        _assumed.reset(token)


def device_of(x: Tensor) -> Device:
    """The GPU that holds `x`; an H100 for a tensor that is on none (interpreter, meta)."""
    if not x.is_cuda:
        return Device.of(_assumed.get())
    return _gpu(torch.cuda.current_device() if x.device.index is None else x.device.index)


@cache
def _gpu(index: int) -> Device:
    limits = triton.runtime.driver.active.utils.get_device_properties(index)
    properties = torch.cuda.get_device_properties(index)
    arch: int | str = 10 * properties.major + properties.minor
    if torch.version.hip:
        arch = properties.gcnArchName.split(":")[0]
    return Device(
        properties.name,
        arch,
        limits["multiprocessor_count"],
        limits["max_shared_mem"],
        properties.warp_size,
    )
