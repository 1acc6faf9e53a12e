"""The root module of causal language modelling: backbone, head and loss in one forward.

FSDP2 gathers parameters in a root module's forward and nowhere else, so the head's product and
the loss belong in here, not in the training loop.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from marco.errors import ConfigError
from marco.kernels.linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_naive
from marco.kernels.torch_path import native
from marco.kernels.torch_path.embedding import Tie, embedding
from marco.models.attention import packings
from marco.models.fused import is_fused
from marco.models.fused_layers import is_plain
from marco.models.kernels import Backend, require_known
from marco.models.vocabulary import VocabularyLimit

IGNORED = -100


class CausalLanguageModel(nn.Module):
    """A transformers causal LM whose forward returns per-token losses.

    Args:
        network: the transformers model; its weights live under `network.` in a state dict.
        vocabulary_limit: the tokenizer's length. In evaluation, rows beyond it get no
            probability; in training all rows take part, as in transformers.
        backend: what the head's loss is computed with; `reference` makes whole logits. The
            layers' own operations are `marco.models.kernels.install`'s.

    Raises:
        ConfigError: a backend that there is not, or a head that does more than a product.
    """

    def __init__(
        self, network: PreTrainedModel, vocabulary_limit: int, backend: Backend = "reference"
    ) -> None:
        super().__init__()
        require_known(backend)
        _check_head(network.lm_head)
        self.network = network
        self.vocabulary_limit = vocabulary_limit
        self.backend = backend

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        labels: Tensor,
        upstream: float | None = None,
        some_ignored: bool = True,
    ) -> Tensor:
        """Return the loss of every token in nats, [batch, length] float32.

        `position_ids` restart at 0 at every document packed in a row, and documents never see
        each other. All three inputs are [batch, length] int64. `upstream` is what the caller will
        multiply every loss by, where it is known (`linear_cross_entropy`). Not `some_ignored` says
        that no label is -100, which spares looking for them.
        """
        network = self.network
        masks = packings(network.config, position_ids) if is_fused(network) else None
        table, head = network.model.embed_tokens, network.lm_head.weight
        tied = table.weight is head and table.padding_idx is None and is_plain(table)
        tie = Tie() if self.backend in ("torch", "native") and tied else None
        hidden = network.model(
            inputs_embeds=table(input_ids) if tie is None else embedding(input_ids, head, tie),
            attention_mask=masks,
            position_ids=position_ids,
            use_cache=False,
        ).last_hidden_state
        limit = None if self.training else self.vocabulary_limit
        if self.backend == "reference":
            losses = linear_cross_entropy_naive(
                hidden.flatten(0, 1), head, labels.flatten(), limit=limit
            )
        else:
            loss = (
                native.on(linear_cross_entropy)
                if self.backend == "native"
                else linear_cross_entropy
            )
            losses = loss(
                hidden.flatten(0, 1),
                head,
                labels.flatten(),
                ignore_index=IGNORED if some_ignored else None,
                limit=limit,
                backend="triton" if self.backend == "triton" else "torch",
                upstream=upstream,
                tie=tie,
            )
        # A copy, not a view: FSDP2's hook on the output does not survive changes to a view.
        return losses.view(labels.shape).clone()

    @torch.inference_mode()
    def generate(self, input_ids: Tensor, **options: Any) -> Tensor:
        """transformers' `generate`, with unused embedding rows out of reach."""
        limit = VocabularyLimit(self.vocabulary_limit)
        written: Tensor = self.network.generate(input_ids, logits_processor=[limit], **options)
        return written


def _check_head(head: nn.Module) -> None:
    """The losses take the head's weight: what it does beyond a product would be left out."""
    if type(head).forward is not nn.Linear.forward:
        raise ConfigError(
            f"lm_head is of type {type(head).__name__}: the losses here take a plain nn.Linear's "
            "weight."
        )
    if head.bias is not None:
        raise ConfigError("lm_head has a bias, for which the losses here have no place.")
