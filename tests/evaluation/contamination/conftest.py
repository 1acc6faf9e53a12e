"""A tiny model with a vocabulary of words, and its training on texts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from marco.evaluation.lm.model import MarcoLM

VOCABULARY = ["<end>", "A.", "B.", "C.", "D.", "?", "Answer:", *(f"w{n}" for n in range(120))]
TOKENIZER = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(VOCABULARY)}, "<end>")
    ),
    eos_token="<end>",
)
TOKENIZER.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()

Trained = Callable[[Callable[[int], list[str]] | None], MarcoLM]


@pytest.fixture
def trained() -> Trained:
    """Make a model, trained for 120 steps on the texts of each step; None: not at all."""

    def make(texts: Callable[[int], list[str]] | None) -> MarcoLM:
        config = Qwen2Config(
            vocab_size=len(VOCABULARY),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Qwen2ForCausalLM(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for step in range(120 if texts else 0):
            ids = torch.tensor([[0, *TOKENIZER.encode(text)] for text in texts(step)])
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return MarcoLM(model.eval(), TOKENIZER)

    return make
