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
FUNCTIONS = (
    "attention",
    "cross_entropy",
    "norm",
    "norm_backward",
    "rope",
    "swiglu",
    "swiglu_backward",
)
TYPES = (torch.float32, torch.bfloat16)
_ON = ContextVar("native", default=False)
P = ParamSpec("P")
R = TypeVar("R")


def on(operation: Callable[P, R]) -> Callable[P, R]:
    """The operation with the C++ passes where they apply, in its backward too."""

    @wraps(operation)
    def made(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():  # Dynamo cannot trace the switch, nor the C++
            return operation(*args, **kwargs)
        token = _ON.set(True)
        try:
            return operation(*args, **kwargs)
        finally:
            _ON.reset(token)

    return made


def wanted() -> bool:
    """Whether the caller runs under `on`, where the C++ can be had."""
    return not torch.compiler.is_compiling() and _ON.get() and available()


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
    return why_not() is None


def why_not() -> str | None:
    """Why there is no library, in one sentence; None where there is one."""
    made = library()
    return made if isinstance(made, str) else None


@cache
def library() -> ctypes.CDLL | str:
    """Load the library, compiling it (3 s) unless this machine's cache holds it; or why not."""
    if platform.system() != "Linux":
        return f"It is made for Linux; this is {platform.system()}."
    if which("g++") is None:
        return "There is no g++, which compiles it once."
    try:
        path = cache_folder() / f"native-{_key()}.so"
        if not _is_whole(path):
            _compile(path)
        return _load(path)
    except subprocess.SubprocessError as error:
        return f"g++ failed: {_first_error(error)}."
    except OSError as error:
        return (
            f"It is kept in {cache_folder()} (the environment variable MARCO_CACHE names another "
            f"folder), which failed: {error}."
        )


def _load(path: Path) -> ctypes.CDLL | str:
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        return f"What g++ made cannot be loaded: {error}."
    missing = [name for name in FUNCTIONS if not hasattr(loaded, f"marco_{name}")]
    return f"What g++ made lacks {', '.join(missing)}." if missing else loaded


def _key() -> str:
    """Changes with the source, the flags, the compiler and the processor."""
    compiler = _gcc("--version")
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
            _gcc(*arguments)
        content = Path(linked).read_bytes()
        Path(linked).write_bytes(content + _seal(path, content))
        os.replace(linked, path)


def _gcc(*arguments: str) -> bytes:
    """What it prints; its messages are in English everywhere."""
    english = {**os.environ, "LC_ALL": "C"}
    ran = subprocess.run(
        ["g++", *arguments], capture_output=True, check=True, timeout=120, env=english
    )
    return ran.stdout


def _seal(path: Path, content: bytes) -> bytes:
    """What `_compile` puts behind a library, where the loader does not look."""
    return hashlib.sha256(path.name.encode() + content).digest()


def _is_whole(path: Path) -> bool:
    """Whether the file is what `_compile` wrote. A damaged one would end the process, unasked."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return content[-32:] == _seal(path, content[:-32])


def _first_error(error: subprocess.SubprocessError) -> str:
    """What the compiler said first."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
    lines = (said or b"").decode(errors="replace").splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else str(error))
