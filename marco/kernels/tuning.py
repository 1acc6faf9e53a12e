"""Choosing a kernel's blocks: the fixed choice, or the fastest of a few on this GPU.

Off (the default), every kernel takes the first of its candidates (`marco.kernels.spaces`), so that
results do not depend on what was measured. On, the candidates are timed at the first call of a
shape class, and the winner is kept in memory and in a file by the GPU's name, the versions of
Triton and torch, and the kernels' source. Another choice of blocks adds up in another order:
results may differ in their last bits. Nothing is measured while a CUDA graph is captured.

Of the processes that share the file (a machine's ranks, say), the first to need a class measures
it; the others wait for what it finds. So no process has to be there for another, and one that dies
is waited for no more.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels import tuning_file
from marco.kernels.device import device_of
from marco.kernels.launches import LAUNCHES
from marco.kernels.spaces import Options

Autotune = Literal["on", "off"]
#: Milliseconds of a run.
Timer = Callable[[Callable[[], Any]], float]

log = logging.getLogger(__name__)
_mode: Autotune = "off"
#: Not of a context: on a GPU, autograd runs a backward in a thread of its own.
_preferred: int | None = None
#: What was chosen, by file and by op and shape class.
_found: dict[tuple[Path, str], Options] = {}


def set_autotune(mode: Autotune) -> None:
    """Whether kernels launched from now on are tuned. Raises ValueError for another word."""
    global _mode
    if mode not in get_args(Autotune):
        raise ValueError(f"autotune={mode!r} should be one of {', '.join(get_args(Autotune))}.")
    _mode = mode


@contextmanager
def preferring(number: int) -> Iterator[None]:
    """In the block every kernel takes candidate `number`, the last where there are fewer."""
    global _preferred
    before, _preferred = _preferred, number
    try:
        yield
    finally:
        _preferred = before


def choose(
    op: str,
    space: Sequence[Options],
    x: Tensor,
    sizes: Sequence[int],
    run: Callable[[Options], Any],
    timer: Timer | None = None,
) -> Options:
    """One of `space`, which is not empty; the first unless tuning is on and `x` on a GPU.

    Args:
        op: the kernel and its variant.
        space: what it may be launched with.
        x: an operand: its type is part of the class.
        sizes: of the launch; what has the same powers of two above them is one class.
        run: launches the kernel, as often as it is called, with no harm.
        timer: for tests; `triton.testing.do_bench` otherwise.
    """
    if _preferred is not None:
        return space[min(_preferred, len(space) - 1)]
    if _mode == "off" or len(space) == 1 or not (x.is_cuda or timer):
        return space[0]
    path = tuning_file.tuning_file(device_of(x))
    key = f"{op} {str(x.dtype)[6:]} {'×'.join(str(triton.next_power_of_2(n)) for n in sizes)}"
    kept = _among(space, _found.get((path, key)) or tuning_file.read(path).get(key))
    if kept is None:
        if x.is_cuda and torch.cuda.is_current_stream_capturing():
            return space[0]
        kept = _tuned(path, key, space, run, timer or _bench)
    _found[path, key] = kept
    return kept


def _among(space: Sequence[Options], kept: Any) -> Options | None:
    return next((options for options in space if options == kept), None)


def _tuned(
    path: Path, key: str, space: Sequence[Options], run: Callable[[Options], Any], timer: Timer
) -> Options:
    """The fastest: what another process finds meanwhile, or what is measured here."""
    with tuning_file.turn(path, key) as ours:
        kept = _among(space, tuning_file.read(path).get(key))
        if kept is not None:
            log.info("Tuned %s, in another process: %s.", key, dict(kept))
            return kept
        if not ours:
            # Other ranks than the first show errors only.
            log.error(
                "Kernels: another process has been tuning %s for %.0f s; the fixed choice is used.",
                key,
                tuning_file.PATIENCE,
            )
            return space[0]
        launches = LAUNCHES.copy()
        times = [_milliseconds(run, options, timer) for options in space]
        LAUNCHES.clear()
        LAUNCHES.update(launches)
        best = min(range(len(space)), key=times.__getitem__)
        if math.isinf(times[best]):
            return space[0]  # which will say what is wrong
        log.info("Tuned %s: %s, %.3f ms (%.3f ms).", key, dict(space[best]), times[best], times[0])
        tuning_file.add(path, key, space[best])
        return space[best]


def _bench(run: Callable[[], Any]) -> float:
    return float(triton.testing.do_bench(run, warmup=5, rep=25, return_mode="median"))


def _milliseconds(run: Callable[[Options], Any], options: Options, timer: Timer) -> float:
    try:
        return timer(lambda: run(options))
    except Exception as error:  # of a compiler, or of a chip that has less than was assumed
        log.info("Tuning passes over %s: %s", dict(options), error)
        return math.inf
