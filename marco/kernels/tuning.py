"""Choosing a kernel's blocks: the fixed choice, or the fastest of a few on this GPU.

Off (the default), every kernel takes the first of its candidates (`marco.kernels.spaces`), so that
results do not depend on what was measured. On, the candidates are timed at the first call of a
shape class, and the winner is kept in memory and in a file by the GPU's name and the versions of
Triton and torch. Another choice of blocks adds up in another order: results may differ in their
last bits. Nothing is measured while a CUDA graph is captured.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels.cache_folder import cache_folder
from marco.kernels.device import Device, device_of
from marco.kernels.launches import LAUNCHES
from marco.kernels.spaces import Options

Autotune = Literal["on", "off"]
#: Milliseconds of a run.
Timer = Callable[[Callable[[], Any]], float]

log = logging.getLogger(__name__)
_mode: Autotune = "off"
#: Not of a context: on a GPU, autograd runs a backward in a thread of its own.
_preferred: int | None = None
#: By file: what was chosen, by op and shape class.
_found: dict[Path, dict[str, dict[str, int]]] = {}


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
    path = _file(device_of(x))
    if path not in _found:
        _found[path] = _read(path)
    known = _found[path]
    key = f"{op} {str(x.dtype)[6:]} {'×'.join(str(triton.next_power_of_2(n)) for n in sizes)}"
    kept = next((options for options in space if options == known.get(key)), None)
    if kept is not None:
        return kept
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        return space[0]
    launches = LAUNCHES.copy()
    times = [_milliseconds(run, options, timer or _bench) for options in space]
    LAUNCHES.clear()
    LAUNCHES.update(launches)
    best = min(range(len(space)), key=times.__getitem__)
    if math.isinf(times[best]):
        return space[0]  # which will say what is wrong
    log.info("Tuned %s: %s, %.3f ms (%.3f ms).", key, dict(space[best]), times[best], times[0])
    known[key] = dict(space[best])
    _write(path, known)
    return space[best]


def _bench(run: Callable[[], Any]) -> float:
    return float(triton.testing.do_bench(run, warmup=5, rep=25, return_mode="median"))


def _milliseconds(run: Callable[[Options], Any], options: Options, timer: Timer) -> float:
    try:
        return timer(lambda: run(options))
    except Exception as error:  # of a compiler, or of a chip that has less than was assumed
        log.info("Tuning passes over %s: %s", dict(options), error)
        return math.inf


def _file(device: Device) -> Path:
    """Results are those of one GPU model and of one compiler."""
    name = f"{device.name} {device.arch} triton-{triton.__version__} torch-{torch.__version__}"
    return cache_folder() / "tuning" / (re.sub(r"[^\w.+-]+", "_", name) + ".json")


def _read(path: Path) -> dict[str, dict[str, int]]:
    """What an earlier process found; a file that cannot be read counts as none."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _write(path: Path, known: dict[str, dict[str, int]]) -> None:
    """Atomically, with what other processes found meanwhile; a full disk costs only the file."""
    known.update({**_read(path), **known})
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, suffix=".json")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(known, file, indent=1, sort_keys=True)
            Path(beside).replace(path)
        except OSError:
            Path(beside).unlink(missing_ok=True)
