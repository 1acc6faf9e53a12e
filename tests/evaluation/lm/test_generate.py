"""Each prompt as if it were alone; sampling as transformers does it; stops wherever they fall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from marco.errors import CheckpointError, ConfigError, DataError
from marco.evaluation.lm.generate import generate
from marco.evaluation.lm.generate_choice import choose, penalise
from marco.evaluation.lm.generate_settings import GenerationSettings, settings_of
from marco.evaluation.lm.stops import StopWatch

PROMPTS = [list(range(3 + n, 3 + n + length)) for n, length in enumerate([1, 40, 7, 7, 90, 2, 31])]


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "qwen2-fused"])
@pytest.mark.parametrize("max_tokens", [1, 250, 32_768])
def test_same_as_transformers(make_network: Callable[..., Any], kind: str, max_tokens: int) -> None:
    """Whatever the room: one at a time, a few that take turns, all at once."""
    settings = GenerationSettings(9, max_tokens=max_tokens)
    found = generate(make_network(kind), PROMPTS, settings)
    plain = make_network(kind.removesuffix("-fused"), eos_token_id=None)
    for prompt, made in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([prompt])
        whole = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=9,
                               do_sample=False, pad_token_id=0)  # fmt: skip
        assert made == whole[0, len(prompt) :].tolist()


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_nothing_depends_on_the_others(
    make_network: Callable[..., Any], temperature: float
) -> None:
    network = make_network("qwen2")
    settings = GenerationSettings(9, temperature=temperature, seed=3)
    together = generate(network, PROMPTS, settings)
    assert together == [generate(network, [prompt], settings)[0] for prompt in PROMPTS]
    assert together == generate(network, PROMPTS[::-1], settings)[::-1]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"top_k": 4},
        {"top_p": 0.7},
        {"min_p": 0.2},
        {"top_k": 9, "top_p": 0.8, "min_p": 0.05},
    ],
)
def test_drawn_from_transformers_distribution(how: dict[str, Any]) -> None:
    draws = 20_000
    logits = torch.randn(1, 16, generator=torch.Generator().manual_seed(5)) * 2
    expected = TemperatureLogitsWarper(0.7)(None, logits)
    for key, warper in (
        ("top_k", TopKLogitsWarper),
        ("top_p", TopPLogitsWarper),
        ("min_p", MinPLogitsWarper),
    ):
        if key in how:
            expected = warper(how[key])(None, expected)
    probabilities = expected.double().softmax(-1)[0].numpy()
    settings = GenerationSettings(1, temperature=0.7, **how)
    sources = (np.arange(draws) + 0.5) / draws  # evenly, so that the shares are exact
    tokens = choose(logits.expand(draws, -1), settings, sources.tolist()).numpy()
    shares = np.bincount(tokens, minlength=16) / draws
    assert np.abs(shares - probabilities).max() <= 2 / draws


def test_penalty_as_transformers() -> None:
    logits = torch.randn(2, 12, generator=torch.Generator().manual_seed(2))
    ids = torch.tensor([[1, 4, 4], [0, 11, 3]])
    expected = RepetitionPenaltyLogitsProcessor(1.3)(ids, logits.clone())
    penalise(logits, [row.unique() for row in ids], 1.3)
    assert torch.equal(logits, expected)


def test_a_stop_over_several_tokens(tokenizer: Any) -> None:
    text = "Kila mtu ana haki ya 自由 na usalama"
    for stop in ("mtu ana", "自由", "usal"):
        watch = StopWatch(tokenizer, [stop])
        tokens = tokenizer.encode(text)
        ended = next(n for n, token in enumerate(tokens, start=1) if watch.add(token))
        assert stop in tokenizer.decode(tokens[:ended])
        assert stop not in tokenizer.decode(tokens[: ended - 1])


def test_unused_ids_are_never_written(make_network: Callable[..., Any]) -> None:
    network = make_network("qwen2")
    found = generate(network, PROMPTS, GenerationSettings(9), vocabulary_limit=20)
    assert max(token for made in found for token in made) < 20


def test_errors(make_network: Callable[..., Any], tokenizer: Any) -> None:
    network = make_network("qwen2")
    with pytest.raises(DataError, match="Prompt 1 has no tokens"):
        generate(network, [[3], []], GenerationSettings(2))
    with pytest.raises(ConfigError, match="give the tokenizer"):
        generate(network, [[3]], GenerationSettings(2, stop=("a",)))
    with pytest.raises(ConfigError, match=r"temprature is not known\. Did you mean 'temperature'"):
        settings_of({"temprature": 1}, tokenizer)
    with pytest.raises(ConfigError, match="num_beams=4"):
        settings_of({"num_beams": 4}, tokenizer)


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_k": 3}])
def test_no_token_is_chosen_among_what_is_no_number(how: dict[str, Any]) -> None:
    logits = torch.zeros(3, 40)
    settings = GenerationSettings(max_new_tokens=1, **how)
    assert choose(logits, settings, [0.5] * 3).shape == (3,)
    logits[1, 7] = torch.nan
    with pytest.raises(CheckpointError, match="not numbers"):
        choose(logits, settings, [0.5] * 3)
