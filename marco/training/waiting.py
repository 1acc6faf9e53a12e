"""How long a thread that waits for the others keeps its core: a moment, not until they come."""

from __future__ import annotations

import os

#: Turns of GNU OpenMP's waiting loop. On two cores, 41,200 tokens/s against 40,900 without, nothing
#: else running; with two busy processes beside it 18,500 against 2,600 (docs/log.md).
SPIN_COUNT = 20_000


def wait_briefly() -> None:
    """Set GNU OpenMP's waiting for this process and its children; call it before torch is imported.

    By default a waiting thread spins for milliseconds, also where other work has the core that it
    waits for. Whoever set either variable of libgomp keeps what they said.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
