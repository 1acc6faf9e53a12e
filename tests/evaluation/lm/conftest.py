"""Tiny models with a small tokenizer, and lm-eval's own model around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, Qwen2Config, Qwen3Config

from marco.data.udhr import Udhr
from marco.evaluation.lm.model import MarcoLM
from marco.models.kernels import install
from marco.tokenizers.embedded import EmbeddedTokenizer


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    corpus = Udhr(languages=["eng", "swh", "cmn"]).load()
    return EmbeddedTokenizer(vocab_size=600).load(corpus).transformers()


@pytest.fixture
def make_network(tokenizer: PreTrainedTokenizerBase) -> Callable[..., Any]:
    def make(kind: str, **more: Any) -> Any:
        shape: dict[str, Any] = {
            "vocab_size": 640,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "initializer_range": 0.3,
            "tie_word_embeddings": "tied" in kind,
            "eos_token_id": tokenizer.eos_token_id,
            **more,
        }
        with torch.random.fork_rng():
            torch.manual_seed(1)
            if kind.startswith("qwen3"):
                config: Any = Qwen3Config(head_dim=8, **shape)
            else:
                config = Qwen2Config(**shape)
            network = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        if kind.endswith("fused"):
            install(network, "torch")
        return network

    return make


@pytest.fixture
def both(
    make_network: Callable[..., Any], tokenizer: PreTrainedTokenizerBase
) -> Callable[..., tuple[MarcoLM, HFLM]]:
    """Ours and lm-eval's, of equal weights; theirs always plain."""

    def make(
        kind: str, batch_size: int = 7, max_length: int = 256, **ours: Any
    ) -> tuple[MarcoLM, HFLM]:
        theirs = HFLM(
            pretrained=make_network(kind.removesuffix("-fused")),
            tokenizer=tokenizer,
            batch_size=batch_size,
            max_length=max_length,
            device="cpu",
        )
        return MarcoLM(make_network(kind), tokenizer, max_length=max_length, **ours), theirs

    return make
