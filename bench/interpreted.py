"""Triton's interpreter as a counter: every byte that kernels load and store, ours and Liger's.

Every lane of a load or store that its mask lets through counts with its element's size, however
often the same address comes. Torch ops around the kernels count too (`bench.torch_traffic`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import triton.language as tl
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from triton import cdiv
from triton.runtime import interpreter

from bench.torch_traffic import Access, Launch, TorchTraffic, size
from marco.kernels import _rms_norm_kernels
from marco.kernels.spaces import Options


@contextmanager
def counting(found: list[Launch]) -> Iterator[None]:
    """Appends every launch of the block, Triton's and torch's, to `found`."""
    builder, execute = interpreter.InterpreterBuilder, interpreter.GridExecutor.__call__
    load, store = builder.create_masked_load, builder.create_masked_store
    rmw, cas = builder.create_atomic_rmw, builder.create_atomic_cas
    tensors: dict[str, Tensor] = {}

    def count(accesses: list[Access], ptrs: Any, mask: Any) -> None:
        addresses = ptrs.data[np.broadcast_to(mask.data, ptrs.data.shape)]
        if not addresses.size:
            return
        moved = addresses.size * max(1, ptrs.get_element_ty().primitive_bitwidth // 8)
        first = int(addresses.flat[0])
        name, x = next((name, x) for name, x in tensors.items() if _holds(x, first))
        for access in accesses:
            if access.name == name:
                access.moved += moved
                return
        accesses.append(Access(name, x.untyped_storage()._cdata, size(x), moved))

    def counted_load(self: Any, ptrs: Any, mask: Any, *rest: Any) -> Any:
        count(found[-1].reads, ptrs, mask)
        return load(self, ptrs, mask, *rest)

    def counted_store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
        count(found[-1].writes, ptrs, mask)
        return store(self, ptrs, value, mask, *rest)

    def counted_rmw(self: Any, op: Any, ptr: Any, value: Any, mask: Any, *rest: Any) -> Any:
        count(found[-1].reads, ptr, mask)
        count(found[-1].writes, ptr, mask)
        return rmw(self, op, ptr, value, mask, *rest)

    def counted_cas(self: Any, ptr: Any, *rest: Any) -> Any:
        every = interpreter.TensorHandle(np.ones_like(ptr.data, dtype=bool), tl.int1)
        count(found[-1].reads, ptr, every)
        count(found[-1].writes, ptr, every)
        return cas(self, ptr, *rest)

    def launch(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(self.arg_names, args, strict=False)) | kwargs
        tensors.clear()
        tensors.update({name: x for name, x in given.items() if isinstance(x, Tensor)})
        found.append(Launch(self.fn.__name__.strip("_"), [], []))
        # The interpreter's own handling of the arguments is not the kernel's.
        with _disable_current_modes():
            return execute(self, *args, **kwargs)

    with (
        patch.object(interpreter.GridExecutor, "__call__", launch),
        patch.object(builder, "create_masked_load", counted_load),
        patch.object(builder, "create_masked_store", counted_store),
        patch.object(builder, "create_atomic_rmw", counted_rmw),
        patch.object(builder, "create_atomic_cas", counted_cas),
        TorchTraffic(found),
    ):
        yield


def _holds(x: Tensor, address: int) -> bool:
    start = x.untyped_storage().data_ptr()
    return start <= address < start + x.untyped_storage().nbytes()


@contextmanager
def processors(count: int, liger: bool = False) -> Iterator[None]:
    """Our norms launch as on a GPU of so many; `liger`'s too, and run in the interpreter."""
    convert = interpreter._implicit_cvt

    def typed(argument: Any) -> Any:
        if isinstance(argument, float):  # fp32 in a launch, a bare Python number in the interpreter
            handle = interpreter.TensorHandle(np.array([argument], np.float32), tl.float32)
            return tl.tensor(handle, tl.float32)
        return convert(argument)

    def programs(options: Options, x: Tensor, rows: int) -> int:
        return min(options["programs"] * count, cdiv(rows, options["block_rows"]))

    with ExitStack() as stack:
        enter = stack.enter_context
        enter(patch.object(interpreter, "_implicit_cvt", typed))
        enter(patch.object(_rms_norm_kernels, "programs", programs))
        for module, name in _liger_norms() if liger else ():
            enter(patch.object(module, "rsqrt", lambda x: tl.rsqrt(x)))
            enter(patch.object(module, name, _with_processors(getattr(module, name), count)))
        yield


def _liger_norms() -> tuple[tuple[Any, str], ...]:
    from liger_kernel.ops import fused_add_rms_norm, rms_norm

    return (rms_norm, "rms_norm_backward"), (fused_add_rms_norm, "fused_add_rms_norm_backward")


def _with_processors(function: Any, count: int) -> Any:
    """Liger's function for a device of `count` processors: without a GPU it takes there to be 1."""
    source, line = inspect.getsource(function), "sm_count = 1\n"
    if source.count(line) != 1:
        raise RuntimeError(f"Liger's {function.__name__} has no line {line.strip()!r} to change.")
    made: dict[str, Any] = {}
    exec(source.replace(line, f"sm_count = {count}\n"), function.__globals__, made)
    return made[function.__name__]
