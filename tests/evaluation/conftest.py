"""A tiny Qwen2 with the root module's forward, and small fakes of the corpus and tokenizer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2Model

VOCABULARY = 97
END_OF_TEXT = 96


class TinyModel(nn.Module):
    """Random weights, large enough that the context matters."""

    def __init__(self) -> None:
        super().__init__()
        config = Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=512,
            initializer_range=0.5,
            attention_dropout=0.5,
        )
        self.backbone = Qwen2Model._from_config(config, attn_implementation="sdpa")
        self.head = nn.Linear(16, VOCABULARY, bias=False)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> Tensor:
        self.shapes.append(tuple(input_ids.shape))
        output = self.backbone(input_ids=input_ids, position_ids=position_ids, use_cache=False)
        logits = self.head(output.last_hidden_state).float()
        return nn.functional.cross_entropy(
            logits.transpose(1, 2), labels, ignore_index=-100, reduction="none"
        )


@pytest.fixture
def tiny_model() -> TinyModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyModel()
