"""What torch ops move: each reads its operands once and writes its results once.

Views and allocations are free, a fill writes only. Custom ops run their own code, so that what they
ask of torch is counted too. The bytes that stay allocated are followed alongside.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import OPDEFS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Neither a kernel nor a copy, though their schemas do not call them views.
_FREE = {"detach", "_unsafe_view", "lift_fresh", "set_", "alias", "resize_", "equal"}
_FREE |= {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
#: Of their operands only the shape matters.
_FILLS = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}
#: What they write into they do not read, unlike other ops in place.
_OVERWRITES = {"copy_", "fill_", "zero_"}


@dataclass
class Access:
    """Bytes that one launch moved to or from one tensor.

    Attributes:
        name: of the kernel's argument.
        storage: address of the tensor's storage.
        size: bytes that the tensor has.
        moved: bytes moved, repetitions counted.
    """

    name: str
    storage: int
    size: int
    moved: int


@dataclass
class Launch:
    """One kernel's run on the device."""

    name: str
    reads: list[Access]
    writes: list[Access]
    flops: int = 0

    @property
    def moved(self) -> int:
        """Bytes read and written."""
        return sum(access.moved for access in (*self.reads, *self.writes))


def size(x: Tensor) -> int:
    """Bytes of what is there: dimensions that `expand` repeats count once."""
    elements = 1
    for extent, stride in zip(x.shape, x.stride(), strict=True):
        elements *= extent if stride else min(extent, 1)
    return elements * x.element_size()


def access(name: str, x: Tensor) -> Access:
    """All of a tensor, once."""
    return Access(name, x.untyped_storage()._cdata, size(x), size(x))


def _parts(mode: TorchDispatchMode, func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """What a composite op gives, run as its parts: these show if `to` or `contiguous` copies."""
    kernel = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CPU")
    if func.namespace != "aten" or kernel:  # silu_backward has both, a kernel and parts
        return NotImplemented
    with mode:
        return func.decompose(*args, **kwargs)


class TorchTraffic(TorchDispatchMode):
    """Appends a `Launch` to `found` for every torch op that moves bytes."""

    def __init__(self, found: list[Launch]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        own = OPDEFS.get(func._schema.name)
        if own is not None:
            with self:
                return own._init_fn(*args, **kwargs)
        made = _parts(self, func, args, kwargs)
        if made is not NotImplemented:
            return made
        made = func(*args, **kwargs)
        if not func.is_view and func.overloadpacket.__name__ not in _FREE:
            launch = self.launch(func, args, kwargs, made)
            if launch.moved:
                self.found.append(launch)
        return made

    def launch(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], made: Any
    ) -> Launch:
        """One op's."""
        name = func.overloadpacket.__name__
        reads, writes = [], []
        for i, argument in enumerate(func._schema.arguments):
            given = args[i] if i < len(args) else kwargs.get(argument.name)
            found = [access(argument.name, x) for x in tree_leaves(given) if isinstance(x, Tensor)]
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written:
                writes += found
            if name not in _FILLS and not (written and (argument.is_out or name in _OVERWRITES)):
                reads += found
        if not writes:
            writes = [access("result", x) for x in tree_leaves(made) if isinstance(x, Tensor)]
        return Launch(name, reads, writes)


class Live(TorchDispatchMode):
    """Follows the storages that torch ops make: `peak` is the most bytes alive at a time."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        """What is `known` was there before, and does not count."""
        super().__init__()
        self.now = self.peak = 0
        self._seen = weakref.WeakSet(x.untyped_storage() for x in known)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        made = _parts(self, func, args, kwargs)
        if made is NotImplemented:
            made = func(*args, **kwargs)
        for x in tree_leaves(made):
            if isinstance(x, Tensor) and x.untyped_storage() not in self._seen:
                storage = x.untyped_storage()
                self._seen.add(storage)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._gone, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return made

    def _gone(self, freed: int) -> None:
        self.now -= freed
