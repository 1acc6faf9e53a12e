"""The option-shuffling test: planted contamination is found, a fresh model is not accused."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from marco.evaluation.contamination.choices import ChoiceItem
from marco.evaluation.contamination.option_order import (
    IN_ORDER,
    METRICS,
    NOT_FINITE,
    TOO_FEW,
    option_order_test,
    rows,
)

WORDS = [f"w{number}" for number in range(120)]
IDS = {word: number + 1 for number, word in enumerate(["A.", "B.", "C.", "D.", "?", *WORDS])}
LABELS = ("\nA. ", "\nB. ", "\nC. ", "\nD. ")


def questions(seed: int, count: int = 48) -> list[ChoiceItem]:
    draw = random.Random(seed)
    return [
        ChoiceItem(
            f"{seed}-{number}",
            "swh" if number % 2 else "eng",
            " ".join([*draw.choices(WORDS, k=4), "?"]),
            LABELS,
            tuple(" ".join(draw.choices(WORDS, k=2)) for _ in LABELS),
        )
        for number in range(count)
    ]


def encode(text: str) -> list[int]:
    return [IDS[word] for word in text.split()]


def new_model() -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=len(IDS) + 1,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Qwen2ForCausalLM(config)


def train(model: Qwen2ForCausalLM, texts: Callable[[int], list[str]], steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        ids = torch.tensor([[0, *encode(text)] for text in texts(step)])
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def likelihoods(model: Qwen2ForCausalLM) -> Callable[[list[tuple[str, str]]], list[float]]:
    @torch.no_grad()
    def score(pairs: list[tuple[str, str]]) -> list[float]:
        found: list[float] = []
        for start in range(0, len(pairs), 256):
            batch = pairs[start : start + 256]
            ids = torch.tensor([[0, *encode(context + text)] for context, text in batch])
            logits: Tensor = model(input_ids=ids).logits.double().log_softmax(-1)
            each = logits[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
            length = len(encode(batch[0][1]))
            found += each[:, -length:].sum(1).tolist()
        return found

    return score


def published(items: Sequence[ChoiceItem]) -> list[str]:
    return [item.context + item.texts(24)[0] for item in items]


def test_a_model_trained_on_the_items_is_flagged_and_not_on_others() -> None:
    model, seen = new_model(), questions(0)
    train(model, lambda step: published(seen), 120)
    found = option_order_test(seen, likelihoods(model))
    assert found.n == len(seen) == 48
    assert found.p_value < 1e-6
    assert found.flagged >= 40
    assert found.low > 0.7
    assert found.outliers / found.outliers_n > 0.8 > 2 * found.outliers_expected
    for language in ("eng", "swh"):
        assert found.per_language[language].n == 24
        assert found.per_language[language].p_value < 1e-6
    unseen = option_order_test(questions(1), likelihoods(model))
    assert unseen.low < unseen.expected < unseen.high
    assert unseen.p_value > 0.01


def test_a_fresh_model_is_at_chance() -> None:
    found = option_order_test(questions(0, 200), likelihoods(new_model()))
    assert found.expected == pytest.approx(1 / 24)
    assert found.low < 1 / 24 < found.high
    assert found.p_value > 0.01


def test_shuffled_once_is_an_outlier_though_not_the_published_order() -> None:
    """What the module says scenario b is for."""
    model, seen = new_model(), questions(0)
    other = [random.Random(item.id).choice(item.texts(24)[1:]) for item in seen]
    texts = [item.context + text for item, text in zip(seen, other, strict=True)]
    train(model, lambda step: texts, 120)
    found = option_order_test(seen, likelihoods(model))
    assert found.flagged <= 3
    assert found.p_value > 0.01
    assert found.outliers / found.outliers_n > 0.8


def test_shuffled_at_every_epoch_is_beyond_the_test() -> None:
    """The stated limit: no order was seen more often than the others."""
    model, seen = new_model(), questions(0)
    orders = [item.texts(24) for item in seen]

    def texts(step: int) -> list[str]:
        draw = random.Random(step)
        return [item.context + draw.choice(found) for item, found in zip(seen, orders, strict=True)]

    train(model, texts, 120)
    found = option_order_test(seen, likelihoods(model))
    assert found.low < found.expected < found.high
    assert found.outliers / found.outliers_n < 0.8


def by_rank(ranks: dict[str, float]) -> Callable[[list[tuple[str, str]]], list[float]]:
    return lambda pairs: [ranks.get(text, -5.0 - len(text)) for _, text in pairs]


def item(*options: str, id: str = "x", language: str = "eng") -> ChoiceItem:
    labels = tuple(f"\n{chr(65 + place)}. " for place in range(len(options)))
    return ChoiceItem(id, language, "Q?", labels, options)


def test_ties_are_not_preferences() -> None:
    tied = option_order_test([item("a", "b", "c", "d")], lambda pairs: [-1.0] * len(pairs))
    assert (tied.n, tied.flagged, tied.outliers) == (1, 0, 0)
    preferred = option_order_test(
        [item("a", "b", "c", "d")], by_rank({"\nA. a\nB. b\nC. c\nD. d": -1.0})
    )
    assert preferred.flagged == 1
    assert preferred.p_value == pytest.approx(1 / 24)
    assert (preferred.low, preferred.high) == (pytest.approx(0.025), 1.0)


def test_equal_options_make_fewer_orders() -> None:
    found = option_order_test([item("a", "a", "b")], by_rank({"\nA. a\nB. a\nC. b": -1.0}))
    assert found.flagged == 1
    assert found.expected == found.p_value == pytest.approx(1 / 3)
    assert found.outliers_n == 0


def test_what_cannot_be_tested_is_counted() -> None:
    items = [
        item("1", "2", "3", "40"),
        item("1,900", "2.5", "2", "-1"),
        item("a", "a", language="swh"),
        item("a", "b", language="tha"),
    ]
    found = option_order_test(items, lambda pairs: [math.nan] * len(pairs))
    assert found.skipped == {IN_ORDER: 2, TOO_FEW: 1, NOT_FINITE: 1}
    assert (found.n, found.p_value, found.low, found.high) == (0, 1.0, 0.0, 1.0)
    table = rows("made_up", found)
    assert {row.language for row in table} == {"eng", "swh", "tha"}
    assert {row.metric for row in table} == set(METRICS)
    assert all(row.value is None and row.reason for row in table)
    assert "2 items with numbers in order" in {row.reason for row in table}


def test_rows_carry_interval_and_chance() -> None:
    seen = [item("a", "b", "c", "d", id=str(number)) for number in range(5)]
    best = "\nA. a\nB. b\nC. c\nD. d"
    result = option_order_test(seen, by_rank({best: 0.0}))
    share, p, outliers = rows("made_up", result)
    assert (share.value, share.n, share.chance) == (1.0, 5, pytest.approx(1 / 24))
    assert (share.low, share.high) == (pytest.approx(0.025 ** (1 / 5)), 1.0)
    assert p.value == pytest.approx(stats.binom.sf(4, 5, 1 / 24))
    assert outliers.chance == pytest.approx(0.35, abs=0.02)


def test_many_options_have_so_many_orders() -> None:
    many = item(*"abcdefgh")
    texts = many.texts(24)
    assert len(texts) == len(set(texts)) == 24
    assert texts == many.texts(24)
    assert texts[0] == many.texts(2)[0]
    assert len(item(*"abcde").texts(120)) == math.factorial(5)
    found = option_order_test([many], lambda pairs: list(np.arange(len(pairs))[::-1].tolist()))
    assert (found.flagged, found.expected) == (1, pytest.approx(1 / 24))


def test_scores_must_be_as_many_as_texts() -> None:
    with pytest.raises(ValueError, match="1 log-likelihoods of 24"):
        option_order_test([item("a", "b", "c", "d")], lambda pairs: [0.0])
