"""The root module of causal language modelling: backbone, head and loss in one forward.

FSDP2 gathers parameters in a root module's forward and nowhere else, so the head's product and
the loss belong in here, not in the training loop.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from marco.models.vocabulary import VocabularyLimit

IGNORED = -100


def token_losses(
    hidden: Tensor, weight: Tensor, labels: Tensor, limit: int | None = None
) -> Tensor:
    """Cross-entropy of every token, in nats.

    Args:
        hidden: [batch, length, hidden].
        weight: [rows, hidden], the language-model head.
        labels: [batch, length] int64, already shifted; -100 is ignored.
        limit: only the first `limit` rows get probability; null means all of them.

    Returns:
        [batch, length] float32; zero where the label is ignored.
    """
    logits = functional.linear(hidden, weight if limit is None else weight[:limit])
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return losses.view(labels.shape)


class CausalLanguageModel(nn.Module):
    """A transformers causal LM whose forward returns per-token losses.

    Args:
        network: the transformers model; its weights live under `network.` in a state dict.
        vocabulary_limit: the tokenizer's length. In evaluation, rows beyond it get no
            probability; in training all rows take part, as in transformers.
    """

    def __init__(self, network: PreTrainedModel, vocabulary_limit: int) -> None:
        super().__init__()
        self.network = network
        self.vocabulary_limit = vocabulary_limit

    def forward(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of every token in nats, [batch, length] float32.

        `position_ids` restart at 0 at every document packed in a row; transformers builds the
        block-diagonal causal mask from them, so documents never see each other. All three
        inputs are [batch, length] int64.
        """
        hidden = self.network.model(
            input_ids=input_ids, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        limit = None if self.training else self.vocabulary_limit
        # A copy, not a view: FSDP2's hook on the output does not survive changes to a view.
        return token_losses(hidden, self.network.lm_head.weight, labels, limit).clone()

    @torch.inference_mode()
    def generate(self, input_ids: Tensor, **options: Any) -> Tensor:
        """transformers' `generate`, with unused embedding rows out of reach."""
        limit = VocabularyLimit(self.vocabulary_limit)
        written: Tensor = self.network.generate(input_ids, logits_processor=[limit], **options)
        return written
