"""Keep freed memory in the process: fresh pages cost a CPU run more than its arithmetic."""

from __future__ import annotations

import ctypes
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
