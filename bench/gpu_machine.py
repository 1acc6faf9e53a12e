"""The machine that `bench.gpu` measures on: its device, its clocks, its memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import DeviceType

Run = Callable[[], object]
#: Calls that `busy_ms` is a mean of.
BUSY_CALLS = 20


@dataclass(frozen=True)
class Machine:
    """What a measurement needs to know of the device; tests put a CPU in a GPU's place.

    Attributes:
        name: as the driver gives it.
        time_ms: milliseconds of a call, its launches included: a median.
        busy_ms: milliseconds in which the device computes during a call; None where unknown.
        synchronize: waits for the device.
        reset_peak: begins to count memory anew.
        peak: bytes allocated at the most since then.
        free: gives memory back that nothing holds any more.
    """

    device: torch.device
    name: str
    time_ms: Callable[[Run], float]
    busy_ms: Callable[[Run], float | None]
    synchronize: Callable[[], None]
    reset_peak: Callable[[], None]
    peak: Callable[[], int]
    free: Callable[[], None]


def gpu(quick: bool) -> Machine:
    """The current CUDA or ROCm device."""
    from triton.testing import do_bench

    warmup, calls = (10, 40) if quick else (25, 100)  # milliseconds

    def free() -> None:
        gc.collect()
        torch.cuda.empty_cache()

    return Machine(
        torch.device("cuda", torch.cuda.current_device()),
        torch.cuda.get_device_name(),
        lambda run: do_bench(run, warmup=warmup, rep=calls, return_mode="median"),
        profiled,
        torch.cuda.synchronize,
        torch.cuda.reset_peak_memory_stats,
        torch.cuda.max_memory_allocated,
        free,
    )


def profiled(run: Run) -> float | None:
    """Milliseconds of a call's kernels alone, by torch's profiler; None where it cannot say."""
    run()
    torch.cuda.synchronize()
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(BUSY_CALLS):
                run()
            torch.cuda.synchronize()
    except (RuntimeError, AssertionError):  # as torch raises where it has no such profiler
        return None
    return busy(profile.events() or [], BUSY_CALLS)


def busy(events: Iterable[Any], calls: int) -> float | None:
    """Milliseconds a call of device events; None where the profiler was let see none.

    Ranges that a program names are no work, nor is waiting.
    """
    kernels = [
        event
        for event in events
        if event.device_type == DeviceType.CUDA
        and not event.is_user_annotation
        and not event.name.endswith(" Sync")
    ]
    total = sum(event.time_range.elapsed_us() for event in kernels)
    return total / 1000 / calls if kernels else None
