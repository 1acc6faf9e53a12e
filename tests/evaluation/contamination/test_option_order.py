"""The option-order test: what it finds, what it cannot, and what it leaves out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from marco.evaluation.contamination.choices import ChoiceItem
from marco.evaluation.contamination.option_order import (
    IN_ORDER,
    NOT_FINITE,
    TOO_FEW,
    option_order_test,
)
from marco.evaluation.contamination.report import likelihoods

WORDS = [f"w{number}" for number in range(120)]
LABELS = ("\nA. ", "\nB. ", "\nC. ", "\nD. ")


def questions(seed: int, count: int = 32) -> list[ChoiceItem]:
    draw = random.Random(seed)
    return [
        ChoiceItem(
            f"{seed}-{number}",
            "swh",
            " ".join([*draw.choices(WORDS, k=4), "?"]),
            LABELS,
            tuple(" ".join(draw.choices(WORDS, k=2)) for _ in LABELS),
        )
        for number in range(count)
    ]


def published(items: Sequence[ChoiceItem]) -> list[str]:
    return [item.context + item.texts(24)[0] for item in items]


def test_shuffled_once_is_an_outlier_though_not_the_published_order(trained: Any) -> None:
    """What the module says scenario b is for."""
    seen = questions(0)
    other = [random.Random(item.id).choice(item.texts(24)[1:]) for item in seen]
    texts = [item.context + text for item, text in zip(seen, other, strict=True)]
    found = option_order_test(seen, likelihoods(trained(lambda step: texts)))
    assert found.flagged <= 3
    assert found.p_value > 0.01
    assert found.outliers / found.outliers_n > 0.8


def test_shuffled_at_every_epoch_is_beyond_the_test(trained: Any) -> None:
    """The stated limit: no order was seen more often than the others."""
    seen = questions(0)
    orders = [item.texts(24) for item in seen]

    def texts(step: int) -> list[str]:
        draw = random.Random(step)
        return [item.context + draw.choice(found) for item, found in zip(seen, orders, strict=True)]

    found = option_order_test(seen, likelihoods(trained(texts)))
    assert found.p_value > 0.01
    assert found.outliers / found.outliers_n < 0.8


def by_rank(ranks: dict[str, float]) -> Callable[[list[tuple[str, str]]], list[float]]:
    return lambda pairs: [ranks.get(text, -5.0 - len(text)) for _, text in pairs]


def item(*options: str) -> ChoiceItem:
    labels = tuple(f"\n{chr(65 + place)}. " for place in range(len(options)))
    return ChoiceItem("x", "eng", "Q?", labels, options)


def test_ties_are_not_preferences() -> None:
    tied = option_order_test([item("a", "b", "c", "d")], lambda pairs: [-1.0] * len(pairs))
    assert (tied.n, tied.flagged, tied.outliers) == (1, 0, 0)
    preferred = option_order_test(
        [item("a", "b", "c", "d")], by_rank({"\nA. a\nB. b\nC. c\nD. d": -1.0})
    )
    assert preferred.flagged == 1
    assert preferred.p_value == pytest.approx(1 / 24)


def test_equal_options_make_fewer_orders() -> None:
    found = option_order_test([item("a", "a", "b")], by_rank({"\nA. a\nB. a\nC. b": -1.0}))
    assert found.flagged == 1
    assert found.expected == found.p_value == pytest.approx(1 / 3)
    assert found.outliers_n == 0


def test_what_cannot_be_tested_is_counted() -> None:
    items = [
        item("1", "2", "3", "40"),
        item("1,900", "2.5", "2", "-1"),
        item("a", "a"),
        item("a", "b"),
    ]
    found = option_order_test(items, lambda pairs: [math.nan] * len(pairs))
    assert found.skipped == {IN_ORDER: 2, TOO_FEW: 1, NOT_FINITE: 1}
    assert (found.n, found.p_value) == (0, 1.0)


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
