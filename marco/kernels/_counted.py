"""Which tokens take part, found on the device: the host waits for no number, and a CUDA graph can
be captured.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Counted(NamedTuple):
    """The tokens whose target is not ignored.

    Attributes:
        mask: [tokens] bool, which they are.
        place: [tokens] int32, where they are, in order; what follows the first `number` is
            undefined.
        number: [1] int32, how many they are.
    """

    mask: Tensor
    place: Tensor
    number: Tensor


def counted(targets: Tensor, ignore_index: int | None) -> Counted | None:
    """Find the tokens that take part; None where `ignore_index` is: then all do.

    Args:
        targets: [tokens], at least one.
    """
    if ignore_index is None:
        return None
    mask = targets != ignore_index
    behind = mask.cumsum(0, dtype=torch.int32)
    tokens = targets.shape[0]
    # Ignored ones all go to a last place, which is cut off.
    to = torch.where(mask, behind - 1, tokens).long()
    place = torch.empty(tokens + 1, dtype=torch.int32, device=targets.device)
    numbers = torch.arange(tokens, dtype=torch.int32, device=targets.device)
    return Counted(mask, place.scatter(0, to, numbers)[:tokens], behind[-1:])
