"""Models small enough to build anew in every test."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, Qwen2Config

VOCABULARY = 97
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def build(config: PreTrainedConfig | None = None) -> PreTrainedModel:
    """The same weights at every call, away from nothing, so that what is left out shows."""
    config = config or Qwen2Config(**SHAPE)
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(float(parameter.ndim == 1), 0.2, generator=generator)
    return network.eval()
