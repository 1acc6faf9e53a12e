"""Whether Liger is there to be compared with."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def usable() -> bool:
    """Whether its ops import; where they do not, one line on stderr says why."""
    if find_spec("liger_kernel") is None:
        print('Without Liger, which is not installed: pip install -e ".[bench]"', file=sys.stderr)
        return False
    import torch

    from bench.kernel_launches import liger_ops

    try:
        liger_ops("0.5b", torch.bfloat16)
    except Exception as error:  # a package that is broken raises whatever it likes
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"Without Liger, which is installed but does not import: {reason}", file=sys.stderr)
        return False
    return True
