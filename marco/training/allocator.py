"""How a CPU run uses the process's memory: freed pages are kept, compiled products are few."""

from __future__ import annotations

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_LARGEST = 2**31 - 1  # mallopt takes an int
_LARGEST_THRESHOLD = 32 * 2**20  # glibc refuses more


def keep_pages() -> bool:
    """Ask glibc to serve blocks up to 32 MiB from the heap and never to trim it; False elsewhere.

    By default blocks over 128 KiB, or what was freed since, are mapped afresh, zeroed by the kernel
    page by page, and returned when freed: each temporary of a training step pays for that again.
    Larger ones stay mapped: they fit into no gap of the heap, which grew by 108 MiB, the gradient
    of SmolLM2-135M's embedding, every other step, without end.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD),
        (_M_TRIM_THRESHOLD, _LARGEST),
        (_M_TOP_PAD, 64 * 2**20),
    )
    return all(mallopt(option, value) == 1 for option, value in settings)


#: Compiled products that a process keeps. Training calls some dozens; an evaluation, whose rows
#: have any length, would fill the libraries' 1,024.
PRIMITIVES = 128
#: oneDNN's own cache, and that of torch's bridge to it: what one of them drops the other holds.
_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def keep_few_primitives() -> None:
    """Bound oneDNN's caches of compiled products, where the environment says nothing of them.

    It has to be called before the first product. Each takes 0.5 to 0.8 MB: 769 MB less at the peak
    of ``udhr_tiny``, whose evaluation meets some 900 lengths, in the same time.
    """
    for name in _CACHES:
        os.environ.setdefault(name, str(PRIMITIVES))
