"""The C++ of `native.cpp`: compiled by g++ on first use, cached, called through ctypes.

Optional: each caller has its plain torch twin, which takes over where there is no compiler, for
other types than fp32 and bf16, and inside torch.compile.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import cache, wraps
from pathlib import Path
from shutil import which
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from marco.kernels.cache_folder import cache_folder

SOURCE = Path(__file__).with_name("native.cpp")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp",
    "-fPIC",
)
TYPES = (torch.float32, torch.bfloat16)
_ON = ContextVar("native", default=False)
P = ParamSpec("P")
R = TypeVar("R")


def on(operation: Callable[P, R]) -> Callable[P, R]:
    """The operation with the C++ passes where they apply, in its backward too."""

    @wraps(operation)
    def made(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _ON.set(True)
        try:
            return operation(*args, **kwargs)
        finally:
            _ON.reset(token)

    return made


def wanted() -> bool:
    """Whether the caller runs under `on`."""
    return not torch.compiler.is_compiling() and _ON.get()


def fits(*tensors: Tensor | None, strided: bool = False) -> bool:
    """Whether all are what the C++ takes: fp32 or bf16 on a CPU, contiguous unless `strided`."""
    return all(
        x is None
        or (x.dtype in TYPES and x.is_cpu and x.numel() > 0 and (strided or x.is_contiguous()))
        for x in tensors
    )


def call(name: str, *args: Any) -> None:
    """Run a function of `native.cpp` on torch's number of threads; None is a null pointer."""
    given = [
        ctypes.c_void_p(a.data_ptr())
        if isinstance(a, Tensor)
        else ctypes.c_float(a)
        if isinstance(a, float)
        else ctypes.c_int64(a)
        if isinstance(a, int)
        else ctypes.c_void_p(a)
        for a in args
    ]
    getattr(library(), f"marco_{name}")(*given, ctypes.c_int64(torch.get_num_threads()))


def is_bf16(x: Tensor | None) -> int:
    """How `native.cpp` names a type."""
    return int(x is not None and x.dtype == torch.bfloat16)


def available() -> bool:
    """Whether the library is there or can be made."""
    return library() is not None


@cache
def library() -> ctypes.CDLL | None:
    """Load the library, compiling it (3 s) unless this machine's cache holds it."""
    if platform.system() != "Linux" or which("g++") is None:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        path = cache_folder() / f"native-{_key()}.so"
        if not path.exists():
            _compile(path)
        return ctypes.CDLL(str(path))
    return None


def _key() -> str:
    """Changes with the source, the flags, the compiler and the processor."""
    compiler = subprocess.run(["g++", "--version"], capture_output=True, check=True).stdout
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((x for x in lines if x.startswith(("flags", "Features"))), "")
    parts = (SOURCE.read_bytes(), " ".join(FLAGS).encode(), compiler, processor.encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _compile(path: Path) -> None:
    """Beside and renamed: another process never loads half a library.

    Not linked with OpenMP, whose functions torch's own runtime provides: two of them would fight
    for the cores.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made, linked = f"{folder}/native.o", f"{folder}/native.so"
        for arguments in ([*FLAGS, "-c", str(SOURCE), "-o", made], ["-shared", made, "-o", linked]):
            subprocess.run(["g++", *arguments], capture_output=True, check=True, timeout=120)
        os.replace(linked, path)
