from __future__ import annotations

import pytest

from marco.models import Initialiser, QwenModel


@pytest.fixture(params=["qwen2", "qwen3"])
def tiny(request: pytest.FixtureRequest) -> QwenModel:
    return QwenModel(
        architecture=request.param,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initialiser=Initialiser(),
    )
