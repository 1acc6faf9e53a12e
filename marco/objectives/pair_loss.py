"""From the losses of packed tokens to those of preference pairs.

A pair is one piece of its source: the chosen answer with its prompt, then the rejected one with its
prompt, each ended by an end-of-text (`marco.data.preference`). Positions restart at each of the
two, so attention keeps them apart, and in every row the 2k-th document is the k-th pair's chosen
side and the next its rejected one; what comes after the last pair is padding, and has no targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from marco.data.batches import MicroBatch
from marco.objectives.preference import log_ratio
from marco.objectives.reference import ReferenceTable

if TYPE_CHECKING:
    from marco.objectives.preference_settings import Preference

IGNORED = -100


class PairLoss:
    """The mean loss of the pairs; an `marco.objectives.objective.Objective`.

    What is logged: `reward_accuracy` (share of pairs whose chosen answer has the higher reward),
    `reward_margin`, `reward_chosen`, `reward_rejected` (β times `log_ratio`, as in TRL), and
    `log_prob_chosen`, `log_prob_rejected` (sums over the answer, in nats).

    Attributes:
        reference: log-probabilities of the reference model; must be there before the first batch
            where the settings want one.
    """

    measures: tuple[str, ...] = (
        "reward_accuracy",
        "reward_margin",
        "reward_chosen",
        "reward_rejected",
        "log_prob_chosen",
        "log_prob_rejected",
    )
    counted = ("documents", 2)
    per_token = False

    def __init__(self, settings: Preference) -> None:
        self.settings = settings
        self.reference: ReferenceTable | None = None

    def units(self, batch: MicroBatch) -> int:
        """Return the pairs in the global batch."""
        return batch["total_pieces"]

    def __call__(self, losses: Tensor, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        settings = self.settings
        there = batch["pieces"] >= 0  # [rows, pairs]
        sums, lengths = sequence_sums(
            losses, batch["position_ids"], batch["labels"], there.shape[1]
        )
        policy = -sums
        reference = None
        if settings.reference:
            assert self.reference is not None
            reference = self.reference.look_up(batch["source"], batch["pieces"])
        # A place without a pair has no tokens: any finite numbers do, as it is masked below.
        scores = log_ratio(policy, reference, lengths.clamp(min=1) if settings.averages else None)
        chosen, rejected = torch.where(there[..., None], scores, -1.0).unbind(2)
        loss = torch.where(there, settings.pair_losses(chosen, rejected), 0.0)
        with torch.no_grad():
            rewards = settings.beta * scores
            margin = rewards[..., 0] - rewards[..., 1]
            logged = torch.stack(
                [
                    loss,
                    (margin > 0).float(),
                    margin,
                    *rewards.unbind(2),
                    *policy.unbind(2),
                ],
                dim=2,
            )
            rows = (logged.double() * there[..., None]).sum(1)
        return loss.sum(), rows


def sequence_sums(
    losses: Tensor, position_ids: Tensor, labels: Tensor, pairs: int
) -> tuple[Tensor, Tensor]:
    """Return losses summed over each side of each pair, and targets: both [rows, pairs, 2].

    Args:
        losses, position_ids, labels: [rows, length].
        pairs: the most that a row has.
    """
    document = (position_ids == 0).cumsum(1) - 1
    side = torch.arange(2 * pairs, device=losses.device)
    # Not a scatter: its order of adding, and with it the last bit, would differ on a GPU.
    within = document[..., None] == side
    sums = (losses[..., None] * within).sum(1)
    lengths = (within & (labels != IGNORED)[..., None]).sum(1)
    return sums.view(-1, pairs, 2), lengths.view(-1, pairs, 2)
