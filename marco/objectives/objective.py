"""What becomes of a root module's per-token losses: the sum that is minimised, and what is logged.

It has no parameters, so it runs outside the root module, whose forward is all that FSDP2 wraps.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from marco.data.batches import MicroBatch


class Objective(Protocol):
    """A sum over units (tokens, pairs), of which the mean over the global batch is minimised.

    Attributes:
        measures: what is logged beside the loss, as means over units.
        counted: the field of the ledger that counts units, and how many of it one unit is.
        per_token: whether every token's loss is multiplied by the same number.
    """

    measures: tuple[str, ...]
    counted: tuple[str, int]
    per_token: bool

    def units(self, batch: MicroBatch) -> int:
        """Return the number of units in the global batch that a micro-batch belongs to."""

    def __call__(self, losses: Tensor, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Return the sum over the micro-batch's units, and sums by row without gradient.

        Args:
            losses: of every token, in nats, [rows, length] float32.
            batch: what they are of.

        Returns:
            A scalar; and [rows, 1 + measures] float64, the loss first.
        """


class TokenLoss:
    """The mean loss of the tokens."""

    measures: tuple[str, ...] = ()
    counted = ("target_tokens", 1)
    per_token = True

    def units(self, batch: MicroBatch) -> int:
        """See `Objective`."""
        return batch["target_tokens"]

    def __call__(self, losses: Tensor, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        return losses.sum(), losses.detach().double().sum(1, keepdim=True)
