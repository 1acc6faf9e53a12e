"""How long work takes on a chip, at best: a roofline model (Williams et al., CACM 2009).

A kernel takes as long as its memory traffic or its matrix products, whichever is longer, at stated
shares of the chip's rates; kernels follow one another. Launches, arithmetic outside of products,
and communication between devices cost nothing. A model, not a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from marco.kernels.chips import Chip


@dataclass(frozen=True)
class Work:
    """What one kernel does.

    Attributes:
        name: the op.
        bytes: read and written, each operand once unless the op says more.
        flops: of its matrix products; a multiply and an add are two.
        dtype: of those products.
    """

    name: str
    bytes: int
    flops: int = 0
    dtype: str = "bfloat16"


@dataclass(frozen=True)
class Efficiency:
    """Shares of a chip's data sheet that kernels reach: assumed, not measured.

    Attributes:
        bandwidth: of the memory's.
        matrix: of the matrix units'.
    """

    bandwidth: float = 0.85
    matrix: float = 0.7


def seconds(work: Iterable[Work], chip: Chip, efficiency: Efficiency) -> float:
    """All of it, one kernel after the other."""
    bandwidth = chip.bandwidth * efficiency.bandwidth
    return sum(
        max(
            one.bytes / bandwidth,
            one.flops / (chip.matrix_rates[one.dtype] * efficiency.matrix),
        )
        for one in work
    )
