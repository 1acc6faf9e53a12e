"""Embedding rows that no token uses never get probability."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessor


class VocabularyLimit(LogitsProcessor):  # type: ignore[misc]
    """Give minus infinity to every row at or beyond the tokenizer's length."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`scores` is [batch, rows]; returns the same shape."""
        if scores.shape[-1] <= self.limit:
            return scores
        scores = scores.clone()
        scores[..., self.limit :] = -torch.inf
        return scores
