"""What a reference model made of all pairs: a table that a batch is looked up in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marco.data.stores import TokenStore


class ReferenceTable:
    """Log-probabilities of the two answers of every pair, by source and place.

    Args:
        stores: of the sources, in the order of the batches' `source`.
        log_probs: of each source, [pairs, 2] float32: chosen, rejected.
    """

    def __init__(self, stores: Sequence[TokenStore], log_probs: Sequence[Tensor]) -> None:
        ends, starts, tokens = [], [], 0
        for store in stores:
            starts.append(tokens)
            ends.append(torch.from_numpy(store.ends(0, store.documents)) + tokens)
            tokens += len(store)
        self._ends = torch.cat(ends)
        self._log_probs = torch.cat(list(log_probs))
        self._starts = torch.tensor(starts)

    def look_up(self, source: Tensor, pieces: Tensor) -> Tensor:
        """Return [rows, pairs, 2] float32; whatever where there is no pair.

        Args:
            source: [rows] int64.
            pieces: [rows, pairs] int64, where each begins in its store; -1: none.
        """
        if self._ends.device != pieces.device:
            self._ends = self._ends.to(pieces.device)
            self._log_probs = self._log_probs.to(pieces.device)
            self._starts = self._starts.to(pieces.device)
        places = self._starts[source][:, None] + pieces.clamp(min=0)
        return self._log_probs[torch.searchsorted(self._ends, places, right=True)]
