"""How a CPU run uses the process's memory: freed pages are kept, compiled products are few."""

from __future__ import annotations

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4  # malloc.h
_LARGEST = 2**31 - 1  # mallopt takes an int


def keep_pages() -> bool:
    """Ask glibc to serve large blocks from the heap and never to trim it; False elsewhere.

    By default every block over 32 MiB at most is mapped afresh, zeroed by the kernel page by page,
    and returned when freed: each large temporary of a training step pays for that again.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, 64 * 2**20))
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
