from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from marco.data.documents import Document
from marco.evaluation.likelihood import Likelihood, Scored, likelihood_rows
from marco.evaluation.rows import Row
from marco.evaluation.scoring import Nats

GROUPS = {"eng": "english", "swh": "low", "rus": "low"}


def by_key(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    return {(row.language, row.metric): row for row in rows}


def test_bits_per_byte_counts_bytes_and_not_characters() -> None:
    class Scorer:
        def documents(self, documents: Sequence[Sequence[int]]) -> list[Nats]:
            return [np.full(len(tokens), math.log(2), np.float32) for tokens in documents]

        def continuations(self, pairs: object) -> list[Nats]:
            raise AssertionError

    texts = {"eng": ["abcd", "ab"], "rus": ["да"]}
    held_out = {
        code: [Document(text, code, "test", str(i)) for i, text in enumerate(found)]
        for code, found in texts.items()
    }

    def encode(batch: list[str]) -> list[list[int]]:  # one token a character
        return [[0] * len(text) for text in batch]

    task = Likelihood(held_out, GROUPS, encode)
    rows = by_key(task.run(Scorer()))
    assert rows["eng", "bits_per_byte"].value == pytest.approx(1)
    assert rows["rus", "bits_per_byte"].value == pytest.approx(0.5)
    assert rows["eng", "bits_per_byte"].n == 2
    assert rows["rus", "bits_per_byte"].low is None  # one document has no spread
    assert rows["eng", "nats_per_article"].value is None
    assert rows["eng", "nats_per_article"].reason == "no parallel articles"


def test_articles_are_those_every_language_has() -> None:
    scored = {
        "eng": [Scored(1, 10, "a"), Scored(3, 10, "b"), Scored(100, 10, "c")],
        # article b is two documents here, and c is missing
        "swh": [Scored(10, 10, "a"), Scored(12, 10, "b"), Scored(8, 10, "b")],
        "rus": [Scored(5, 10)],
    }
    rows = by_key(likelihood_rows(scored, GROUPS))
    english = rows["eng", "nats_per_article"]
    assert (english.value, english.n) == (2, 2)
    error = 1.0  # sample standard deviation sqrt(2) of (1, 3), over sqrt(2)
    assert english.low == pytest.approx(2 - 1.959964 * error)
    assert rows["swh", "nats_per_article"].value == 15
    assert rows["rus", "nats_per_article"].value is None


def test_nothing_shared_is_said_so() -> None:
    scored = {"eng": [Scored(1, 1, "a")], "swh": [Scored(1, 1, "b")]}
    reasons = {row.reason for row in likelihood_rows(scored, GROUPS) if row.value is None}
    assert reasons == {"no article is held out in every language"}


def test_a_loss_that_is_not_a_number_fails_its_language_alone() -> None:
    scored = {"eng": [Scored(math.nan, 4, "a")], "swh": [Scored(8, 4, "a")], "rus": []}
    rows = by_key(likelihood_rows(scored, GROUPS))
    assert rows["eng", "bits_per_byte"].value is None
    assert "finite" in (rows["eng", "bits_per_byte"].reason or "")
    assert rows["swh", "bits_per_byte"].value == pytest.approx(2 / math.log(2))
    assert rows["rus", "bits_per_byte"].reason == "no held-out text"
