"""What a method is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

#: One pass over a tensor: its pieces [rows, …] in fp32, of the base (where the method has one)
#: and of every model.
Pass = Callable[[], Iterator[list[Tensor]]]
#: Makes a piece of the result of the models' pieces; called once for each, in their order.
Combine = Callable[[list[Tensor]], Tensor]

Rescale = Literal["l1", "density", "none"]


@dataclass(frozen=True)
class How:
    """The numbers of a merge.

    Attributes:
        weights: one for each model, or the only one that the method takes.
        density: of each model, the share of its differences from the base that is kept.
        normalise: divide by the sum of the weights.
        scale: multiplies the whole difference from the base (λ of task arithmetic and TIES).
        rescale: what makes up for the differences that DARE drops.
        seeds: of each model, for this tensor.
        count: the values that the tensor has.
    """

    weights: tuple[float, ...]
    density: tuple[float, ...]
    normalise: bool
    scale: float
    rescale: Rescale
    seeds: tuple[int, ...]
    count: int


#: Looks at a tensor in as many passes as it needs, and says how to combine its pieces.
Prepare = Callable[[Pass, How], Combine]
