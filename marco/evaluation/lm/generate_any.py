"""Continuing prompts with any causal model of transformers: its own forward, with its own cache.

The prompts of a batch are padded on the left; rows that are done leave, and the next batch begins
when all have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

ROWS = 64


class AnyDecoder:
    """The rows at work; see `marco.evaluation.lm.generate.Decoder`."""

    def __init__(
        self, network: PreTrainedModel, new_tokens: int, max_tokens: int, limit: int | None
    ) -> None:
        self._network: Any = network
        self._new_tokens, self._max_tokens = new_tokens, max_tokens
        self._limit = limit
        self._cache: Any = None
        self._mask: Tensor | None = None  # [rows, places]

    def admits(self, waiting: Sequence[int]) -> int:
        """How many of the waiting, longest first, join now: a batch, once the last is done."""
        if not waiting or self._mask is not None:
            return 0
        room = self._max_tokens // (waiting[0] + self._new_tokens)
        return max(1, min(ROWS, room, len(waiting)))

    def add(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Compute the prompts; return their last logits, fp32 [prompts, entries]."""
        width = max(map(len, prompts))
        device = self._network.device
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros(len(prompts), width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        self._mask, self._cache = mask.to(device), None
        return self._forward(ids.to(device), (self._mask.cumsum(1) - 1).clamp(min=0))

    def step(self, tokens: Tensor) -> Tensor:
        """Take one token of every row, int64 [rows]; return the logits, fp32 [rows, entries]."""
        assert self._mask is not None
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        return self._forward(tokens[:, None], self._mask.sum(1, keepdim=True) - 1)

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Let all rows but these go; return which of the old rows is where now."""
        order = sorted(rows)
        if not order:
            self._cache = self._mask = None
        elif self._mask is not None and len(order) < len(self._mask):
            places = torch.tensor(order, device=self._mask.device)
            self._mask = self._mask[places]
            self._cache.batch_select_indices(places)
        return order

    def _forward(self, ids: Tensor, places: Tensor) -> Tensor:
        out = self._network(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache = out.past_key_values
        logits: Tensor = out.logits[:, -1, : self._limit].float()
        return logits
