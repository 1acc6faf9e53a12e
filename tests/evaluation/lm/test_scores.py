"""Rows in which beginnings stand once: what is planned, kept, shared out, and left when full."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marco.errors import ConfigError
from marco.evaluation.lm import scores
from marco.evaluation.lm.prefixes import Question, plan
from marco.evaluation.lm.scores import answers

TOLERANCE = 1e-4

QUESTION = st.lists(st.integers(0, 2), min_size=2, max_size=14).flatmap(
    lambda tokens: st.integers(1, len(tokens) - 1).map(lambda n: Question(tuple(tokens), n))
)


def alone(network: Any, question: Question) -> tuple[float, bool]:
    """The same by the model's own forward and all of its logits."""
    ids = torch.tensor([question.tokens[:-1]])
    with torch.no_grad():
        logits = network(ids).logits[0, -question.scored :].double()
    targets = torch.tensor(question.tokens[-question.scored :])
    nats = logits.log_softmax(-1).gather(1, targets[:, None]).sum()
    return float(nats), bool((logits.argmax(-1) == targets).all())


def many() -> list[Question]:
    shared = tuple(range(5, 65))
    found = [
        Question((*shared, *range(item, item + 7), *range(option, option + 3)), 3)
        for item in range(100, 150, 5)
        for option in (200, 210, 200 + item, 300)
    ]
    return [*found, Question((7, 8), 1), Question(tuple(range(150)), 149), found[0]]


@given(st.lists(QUESTION, min_size=1, max_size=12), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_every_token_sees_its_own_text(questions: list[Question], budget: int) -> None:
    """Following the mask, each target's token has exactly its question's tokens before it."""
    seen = []
    for row in plan(questions, range(len(questions)), budget):
        before = [t for part in (row.before.chain if row.before else []) for t in part.tokens]
        at = 0
        for index, count in zip(row.questions, row.counts, strict=True):
            question = questions[index]
            for number, place in enumerate(row.places[at : at + count]):
                path = [p for p in range(place + 1) if place < row.ends[p]]
                read = [*before, *row.tokens[path]]
                end = len(question.tokens) - question.scored + number
                assert read == list(question.tokens[:end])
                assert row.depths[place] == end - 1
            targets = row.targets[at : at + count].tolist()
            assert targets == list(question.tokens[-question.scored :])
            at += count
            seen.append(index)
    assert sorted(seen) == list(range(len(questions)))


@pytest.mark.parametrize("kind", ["qwen2", "qwen3-fused"])
@pytest.mark.parametrize("max_tokens", [16, 64, 4096])
def test_beginnings_are_kept(make_network: Callable[..., Any], kind: str, max_tokens: int) -> None:
    questions = many()
    kept = sum(row.before is not None for row in plan(questions, range(len(questions)), max_tokens))
    assert (kept > 2) == (max_tokens < 4096)
    found = answers(make_network(kind), questions, max_tokens)
    expected = [alone(make_network(kind.removesuffix("-fused")), each) for each in questions]
    assert np.allclose([x for x, _ in found], [x for x, _ in expected], rtol=1e-6, atol=TOLERANCE)
    assert [same for _, same in found] == [same for _, same in expected]


def test_out_of_memory_halves_the_forward(
    make_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, questions, sizes = make_network("qwen2"), many(), []
    expected = answers(network, questions, 4096)
    real = scores._hidden

    def small(network: Any, tokens: Any, *more: Any) -> Any:
        sizes.append(len(tokens))
        if len(tokens) > 200:
            raise torch.OutOfMemoryError("full")
        return real(network, tokens, *more)

    monkeypatch.setattr(scores, "_hidden", small)
    seen: list[tuple[int, int]] = []
    found = answers(network, questions, 4096, progress=lambda *at: seen.append(at))
    assert max(sizes) > 200
    assert np.allclose([x for x, _ in found], [x for x, _ in expected], rtol=1e-6, atol=TOLERANCE)
    assert seen[-1] == (len(questions), len(questions))


def test_another_architecture_is_refused(make_network: Callable[..., Any]) -> None:
    network = make_network("qwen2")
    network.config.model_type = "gemma2"
    with pytest.raises(ConfigError, match="A 'gemma2' model cannot be scored here"):
        answers(network, many(), 64)


SCRIPT = """
import json, sys, torch, torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM, Qwen2Config
from marco.evaluation.lm.gathered import gathered
from marco.evaluation.lm.prefixes import Question
from marco.evaluation.lm.scores import answers
from marco.evaluation.scoring import Shard
torch.manual_seed(1)
network = AutoModelForCausalLM.from_config(Qwen2Config(vocab_size=90, hidden_size=16,
    intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
    initializer_range=0.3, tie_word_embeddings=True)).eval()
questions = [Question(tuple(range(n, n + 9)), 1 + n % 3) for n in range(40)]
alone = answers(network, questions, 20)
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=int(sys.argv[1]),
    world_size=2)
seen = []
shared = answers(network, questions, 20, shard=Shard(int(sys.argv[1]), 2),
    progress=lambda *at: seen.append(at))
assert shared == alone, (shared, alone)
weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
for layer in network.model.layers:
    fully_shard(layer)
fully_shard(network)
whole = gathered(network, "reference")
for name, tensor in whole.state_dict().items():
    assert torch.equal(tensor, weights[name]), name
assert answers(whole, questions, 20, shard=Shard(int(sys.argv[1]), 2)) == alone
assert gathered(whole, "reference") is whole
print(json.dumps(seen[-1]))
dist.destroy_process_group()
"""


def test_two_ranks_share_the_rows_of_a_whole_or_a_gathered_model(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0].strip() for process in running]
    assert outputs == ["[20, 20]", "[20, 20]"]
