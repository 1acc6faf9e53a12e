"""The bench of the scorer: what it asks, that both answer alike, and that it fails where not."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

import pytest
import torch

from bench import evaluation
from bench.evaluation_profile import PLACES, profiled
from marco.data import Corpus
from marco.evaluation.lm.model import MarcoLM
from marco.tokenizers.qwen2 import QwenTokenizer

SMALL: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return QwenTokenizer().load(Corpus({}, {})).transformers()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "choice"], "'choice' is not known. Did you mean 'choices'?"),
        (["--rounds", "0"], "must be at least 1"),
        (["--sizes", "4,0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_measured(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluation", *arguments])
    with pytest.raises(SystemExit, match=re.escape(message)):
        evaluation.main()


def test_items_are_as_long_as_it_says(tokenizer: Any) -> None:
    pairs = [each.args for each in evaluation.requests_of("choices", tokenizer, 32)]
    contexts = {context for context, _ in pairs}
    assert (len(pairs), len(contexts), len(set(pairs))) == (32, 8, 32)
    lengths = [len(tokenizer(context)["input_ids"]) for context in contexts]
    assert 195 <= min(lengths) <= max(lengths) <= 205
    options = [len(tokenizer(option)["input_ids"]) for _, option in pairs]
    assert 4 <= min(options) < 9 < 16 < max(options) <= 22


@pytest.mark.parametrize(
    ("part", "ours", "theirs", "trouble"),
    [
        ("choices", [(-9.0, False)], [(-9.00005, False)], None),
        ("choices", [(-9.0, False)], [(-9.001, False)], "differ by up to 1.0e-03 nats"),
        ("choices", [(math.nan, False)], [(-9.0, False)], "differ by up to nan nats"),
        ("choices", [(-9.0, True)], [(-9.0, False)], "predictions differ"),
        ("rolling", [-2000.001], [-2000.0], None),
        ("rolling", [-2000.01], [-2000.0], "differ by up to"),
        ("generation", ["a", "b"], ["a", "c"], "1 of 2 texts differ"),
    ],
)
def test_unequal_answers_are_named(
    part: str, ours: list[Any], theirs: list[Any], trouble: str | None
) -> None:
    _, found = evaluation.difference(part, ours, theirs)
    assert (found is None) == (trouble is None)
    assert trouble is None or trouble in str(found)


def test_the_last_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(evaluation, "SHAPES", {"B": SMALL})
    monkeypatch.setattr(evaluation, "NEW_TOKENS", 4)
    counts = {"choices": 16, "rolling": 4, "generation": 8}
    parts = {name: (kind, counts[name], key) for name, (kind, _, key) in evaluation.PARTS.items()}
    monkeypatch.setattr(evaluation, "PARTS", parts)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    arguments = ["--quick", "--layers", "1", "--sizes", "2", "--kernels", "torch"]
    monkeypatch.setattr(sys, "argv", ["evaluation", *arguments])
    evaluation.main()
    out = capsys.readouterr().out
    assert "Ours: Kernels: torch, 1 fused layers." in out
    line = json.loads(out.splitlines()[-1])
    assert min(line[f"{name}_ratio"] for name in ("multiple_choice", "rolling", "generation")) > 0
    assert 0 <= line["max_abs_delta_loglikelihood"] <= evaluation.TOLERANCE


def test_time_is_of_the_innermost(tokenizer: Any) -> None:
    _, network, _ = evaluation.networks(SMALL | {"num_hidden_layers": 1}, torch.float32, "torch")
    before = [getattr(owner, key) for some in PLACES.values() for owner, key in some]
    requests = evaluation.requests_of("choices", tokenizer, 4)
    found = profiled(lambda: evaluation.ask(MarcoLM(network, tokenizer), requests))
    assert sum(share for _, _, share in found) == pytest.approx(1)
    assert {"tokenising", "attention", "layers, attention apart", "head"} <= {n for n, *_ in found}
    assert "steps" not in {name for name, *_ in found}
    assert before == [getattr(owner, key) for some in PLACES.values() for owner, key in some]
