"""Answers of tiny chat models, beside transformers' own generation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from marco.errors import ConfigError
from marco.evaluation.judge.answers import OTHER_TEMPERATURE, Answering, answer
from marco.evaluation.judge.questions import Question
from marco.evaluation.lm.cache import RequestCache

GREEDY = Answering(max_new_tokens=12, temperature=0.0)


@pytest.fixture
def chat(chat_models: tuple[Path, ...]) -> tuple[Any, Any]:
    network = AutoModelForCausalLM.from_pretrained(chat_models[0]).eval()
    return network, AutoTokenizer.from_pretrained(chat_models[0])


def theirs(network: Any, tokenizer: Any, question: Question) -> tuple[str, ...]:
    messages: list[dict[str, str]] = []
    for turn in question.turns:
        messages.append({"role": "user", "content": turn})
        tokens = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        with torch.no_grad():
            made = network.generate(
                tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=12, do_sample=False,
                pad_token_id=tokenizer.eos_token_id,
            )  # fmt: skip
        text = tokenizer.decode(made[0, tokens.shape[1] :], skip_special_tokens=True)
        messages.append({"role": "assistant", "content": text})
    return tuple(each["content"] for each in messages if each["role"] == "assistant")


def test_greedy_answers_are_transformers_own(
    chat: tuple[Any, Any], questions: list[Question]
) -> None:
    uneven = [*questions[:4], Question("x", "swh", "math", ("Moja tu?",))]
    found = answer(*chat, uneven, GREEDY)
    assert found == [theirs(*chat, question) for question in uneven]
    assert [len(turns) for turns in found] == [2, 2, 2, 2, 1]
    assert len(set(found)) > 1


def test_temperatures_are_mt_benchs(chat: tuple[Any, Any], questions: list[Question]) -> None:
    how = Answering(max_new_tokens=12)
    assert [how.temperature_of(q) for q in questions[:5]] == [0.7, 0, 0.1, 0, OTHER_TEMPERATURE]
    found = answer(*chat, questions, how)
    assert answer(*chat, questions, how) == found
    other = answer(*chat, questions, Answering(max_new_tokens=12, seed=1))
    greedy = answer(*chat, questions, GREEDY)
    for index, question in enumerate(questions):
        if question.category in ("math", "coding"):
            assert found[index] == other[index] == greedy[index]
    assert found != other


def test_an_interrupted_model_goes_on(
    chat: tuple[Any, Any], questions: list[Question], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("marco.evaluation.judge.answers.TOGETHER", 4)
    path = tmp_path / "cache.jsonl"
    steps: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        steps.append((done, total))
        if done > 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer(*chat, questions, GREEDY, cache=RequestCache(path, "m"), progress=stop)
    assert len(path.read_bytes().splitlines()) == 8
    cache = RequestCache(path, "m")
    steps.clear()
    found = answer(*chat, questions, GREEDY, cache=cache, progress=lambda *step: steps.append(step))
    assert cache.hits == 8
    assert steps[0][0] == 8
    assert steps[-1] == (24, 24)
    assert found == answer(*chat, questions, GREEDY)


def test_a_model_without_a_template_is_no_chat_model(
    chat: tuple[Any, Any], questions: list[Question]
) -> None:
    network, tokenizer = chat
    with pytest.raises(ConfigError, match="leaves no room"):
        answer(network, tokenizer, questions, Answering(max_new_tokens=2048))
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="no chat template"):
        answer(network, tokenizer, questions, GREEDY)


def test_a_long_conversation_loses_its_beginning(
    chat: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    long = Question("7", "swh", "math", ("Hujambo? " * 900,))
    answer(*chat, [long], Answering(max_new_tokens=4, temperature=0.0))
    assert "Question 7 of swh, turn 1: the first" in caplog.text


@pytest.mark.parametrize("field", ["max_new_tokens", "max_tokens", "seed", "temperature"])
def test_what_cannot_be_is_said(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"answering\.{field}=-1"):
        Answering(**{field: -1})
