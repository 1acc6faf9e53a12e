from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from marco.models import QwenModel
from marco.objectives.causal_lm import CausalLanguageModel


def build(architecture: str, vocabulary: int = 100) -> CausalLanguageModel:
    settings = QwenModel(
        architecture=architecture,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    return CausalLanguageModel(settings.build(vocabulary, seed=0), vocabulary)


def row(lengths: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 100, (1, sum(lengths) + 1), generator=generator)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    return ids[:, :-1], positions, ids[:, 1:]


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_packed_documents_score_as_if_alone(architecture: str) -> None:
    model = build(architecture).eval()
    lengths = [7, 1, 23, 12]
    rows = [row(lengths, seed=0), row([43], seed=1)]  # a packed row beside one long document
    ids, positions, labels = (torch.cat(parts) for parts in zip(*rows, strict=True))
    packed = model(ids, positions, labels)
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        alone = model(ids[:1, part], torch.arange(length)[None], labels[:1, part])
        torch.testing.assert_close(packed[:1, part], alone, rtol=1e-5, atol=1e-5)
        start += length
    alone = model(ids[1:], torch.arange(43)[None], labels[1:])
    torch.testing.assert_close(packed[1:], alone, rtol=1e-5, atol=1e-5)


def test_losses_are_transformers_own() -> None:
    model = build("qwen2")
    ids, positions, labels = row([20], seed=0)
    labels = labels.clone()
    labels[0, 3] = -100
    losses = model(ids, positions, labels)
    logits = model.network(ids).logits
    expected = functional.cross_entropy(logits[0], labels[0], reduction="none")
    torch.testing.assert_close(losses[0], expected)
    assert losses[0, 3] == 0


def test_unused_rows_get_no_probability_in_evaluation() -> None:
    model = build("qwen2").eval()
    ids, positions, _ = row([10], seed=0)
    total = torch.zeros(1, 10)
    for token in range(100):
        losses = model(ids, positions, torch.full((1, 10), token))
        total += torch.exp(-losses)
    torch.testing.assert_close(total, torch.ones(1, 10))
    model.train()
    in_training = sum(
        torch.exp(-model(ids, positions, torch.full((1, 10), token))) for token in range(128)
    )
    torch.testing.assert_close(in_training, torch.ones(1, 10))


def test_unused_rows_are_never_generated() -> None:
    model = build("qwen2", vocabulary=100).eval()
    with torch.no_grad():  # make the unused rows the most likely ones by far
        weight = model.network.get_input_embeddings().weight
        weight[100:] = 50 * weight[:28].sign()
    prompt = torch.tensor([[1, 2, 3]])
    plain = model.network.generate(prompt, max_new_tokens=12, do_sample=True)
    assert plain[:, 3:].max() >= 100  # without the limit they would be drawn
    torch.manual_seed(0)
    limited = model.generate(prompt, max_new_tokens=12, do_sample=True)
    assert limited.max() < 100
