"""The roofline model and the counting under it, against closed forms."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedConfig, Qwen2Config, Qwen3Config

from marco.kernels.chips import CHIPS
from marco.kernels.rms_norm import rms_norm, rms_norm_naive
from marco.planning.roofline import Efficiency, Work, seconds
from marco.planning.trace import trace, trace_step

SHAPE = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
CONFIGS = [
    Qwen3Config(**SHAPE, tie_word_embeddings=True),
    Qwen3Config(**SHAPE, tie_word_embeddings=False),
    Qwen2Config(**SHAPE | {"head_dim": 16}, tie_word_embeddings=True),
]
ROWS, LENGTH = 2, 256


def test_the_longer_of_traffic_and_products() -> None:
    chip = dataclasses.replace(CHIPS["h100"], bandwidth=1e3, matrix_rates={"bfloat16": 1e6})
    efficiency = Efficiency(bandwidth=0.5, matrix=0.25)
    assert seconds([Work("copy", 1000)], chip, efficiency) == 2.0
    assert seconds([Work("product", 1000, 10**6)], chip, efficiency) == 4.0
    assert seconds([Work("copy", 1000), Work("product", 1000, 10**6)], chip, efficiency) == 6.0


@pytest.mark.parametrize("config", CONFIGS)
def test_products_of_a_step(config: PreTrainedConfig) -> None:
    tokens = ROWS * LENGTH
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    attention = config.hidden_size * (2 * queries + 2 * keys)
    layer = attention + 3 * config.hidden_size * config.intermediate_size
    head = config.vocab_size * config.hidden_size
    layers = config.num_hidden_layers
    # Scores and sums, half of them hidden: 2 products forward, 5 backward.
    scores = 7 * layers * tokens * LENGTH * queries
    plain = 6 * tokens * (layers * layer + head) + scores
    found = {fused: trace_step(config, ROWS, LENGTH, fused=fused) for fused in (True, False)}
    assert sum(work.flops for work in found[False]) == plain
    # The fused loss makes the logits a second time.
    assert sum(work.flops for work in found[True]) == plain + 2 * tokens * head
    assert {work.dtype for works in found.values() for work in works if work.flops} == {"bfloat16"}


def test_fused_layers_run_and_logits_are_never_whole() -> None:
    config = CONFIGS[0]
    fused, plain = (trace_step(config, ROWS, LENGTH, fused=fused) for fused in (True, False))
    names = {work.name for work in fused}
    assert {"marco::rms_norm", "marco::add_rms_norm_backward", "marco::rope"} <= names
    assert {"marco::swiglu_backward", "marco::linear_cross_entropy_triton_bwd"} <= names
    assert not any(work.name.startswith("marco::") for work in plain)
    assert "aten::_log_softmax" not in names
    assert sum(work.bytes for work in fused) < sum(work.bytes for work in plain)


def leaf(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16, device="meta", requires_grad=True)


def test_traffic_of_a_norm() -> None:
    tokens, hidden = 100, 64
    x, weight = leaf(tokens, hidden), leaf(hidden)
    (work,) = trace(lambda: rms_norm(x, weight, 1e-6))
    assert work.bytes == 2 * (2 * tokens * hidden + hidden)
    plain = trace(lambda: rms_norm_naive(x, weight, 1e-6))
    # To fp32, square, mean, + eps, rsqrt, times x, to bf16, times the weight.
    rows, row_numbers = tokens * hidden, 4 * tokens
    assert sum(work.bytes for work in plain) == (
        rows * (6 + 8 + 4 + 8 + 6 + 4) + 6 * row_numbers + 2 * hidden
    )


def test_views_and_repeated_rows_are_free() -> None:
    x = leaf(1, 8).detach()
    assert not trace(lambda: x.view(8).expand(5, 8).unsqueeze(0).transpose(0, 1))
    (work,) = trace(lambda: x.expand(5, 8) + 1)
    assert work.bytes == 2 * 8 + 2 * 5 * 8


def test_chips_are_whole() -> None:
    for name, chip in CHIPS.items():
        assert chip.name == name
        assert chip.matrix_rates["bfloat16"] > chip.vector_rate > 0
        assert chip.shared_a_block <= chip.shared
        assert chip.threads % chip.warp == 0
