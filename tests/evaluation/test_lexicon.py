from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from marco.data import lexicon as data
from marco.evaluation.intervals import wilson
from marco.evaluation.lexicon import (
    LexiconChoice,
    Question,
    Speaker,
    answered,
    make_questions,
)
from marco.evaluation.scoring import Nats

GERMAN = Speaker("deu", "German", "high", "de")
SWAHILI = Speaker("swh", "Swahili", "low", "sw")
ENGLISH = Speaker("eng", "English", "english", "en")
NOWHERE = Speaker("xxx", "Nowhere", "low", None)


def encode(texts: list[str]) -> list[list[int]]:
    return [list(text.encode()) for text in texts]


class Oracle:
    """Knows the translations of the given questions, and nothing else."""

    def __init__(self, known: Sequence[Question]) -> None:
        self.known = {(q.prompt.encode(), q.options[q.answer].encode()) for q in known}

    def documents(self, documents: object) -> list[Nats]:
        raise AssertionError

    def continuations(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Nats]:
        return [
            np.full(len(o), 0.1 if (bytes(p), bytes(o)) in self.known else 1.0, np.float32)
            for p, o in pairs
        ]


def test_questions_have_one_right_answer_in_the_right_language() -> None:
    questions = make_questions(data.names, GERMAN, 50, seed=0)
    assert len(questions) == 100
    english, german = data.names("en"), data.names("de")
    meanings = {(english[c].casefold(), german[c].casefold()) for c in german if c in english}
    for question in questions:
        source, word = question.prompt.splitlines()[0].split(": ")
        target = question.prompt.splitlines()[1]
        assert target == ("German:" if question.direction == "from_english" else "English:")
        assert source == ("English" if question.direction == "from_english" else "German")
        assert all(option.startswith(" ") for option in question.options)
        assert len({option.casefold() for option in question.options}) == 4
        pairs = [
            (word, option[1:]) if question.direction == "from_english" else (option[1:], word)
            for option in question.options
        ]
        right = [
            option
            for option, (one, other) in zip(question.options, pairs, strict=True)
            if (one.casefold(), other.casefold()) in meanings
        ]
        assert right == [question.options[question.answer]]


def test_the_draw_is_stable() -> None:
    few = make_questions(data.names, GERMAN, 4, seed=0)
    many = make_questions(data.names, GERMAN, 12, seed=0)
    assert many[:8] == few
    assert make_questions(data.names, GERMAN, 4, seed=1) != few
    alone = LexiconChoice(data.names, [GERMAN], encode, 4, 0)
    both = LexiconChoice(data.names, [SWAHILI, GERMAN], encode, 4, 0)
    assert [q for q in both._questions if q.language == "deu"] == alone._questions


def test_the_right_answers_place_is_even() -> None:
    places = [q.answer for q in make_questions(data.names, GERMAN, 200, seed=0)]
    assert all(places.count(place) > 50 for place in range(4))


def test_accuracies_by_direction_with_their_intervals() -> None:
    task = LexiconChoice(data.names, [GERMAN, SWAHILI], encode, 8, 0)
    known = [q for q in task._questions if q.language == "deu" and q.direction == "to_english"]
    rows = {(row.language, row.metric): row for row in task.run(Oracle(known))}
    back = rows["deu", "lexicon_to_english"]
    assert (back.value, back.n, back.low, back.high) == (1, 8, *wilson(8, 8))
    both = rows["deu", "lexicon_accuracy"]
    there = rows["deu", "lexicon_from_english"]
    assert both.n == 16
    assert both.value == pytest.approx((1 + (there.value or 0)) / 2)
    assert (rows["swh", "lexicon_accuracy"].value or 0) < 1


def test_absent_is_not_zero() -> None:
    def names(locale: str) -> dict[str, str]:
        words = {"en": ["apple", "moon", "sun", "rain"], "sw": ["tofaa", "mwezi", "jua", "mvua"]}
        return {f"U+1F31{i}": word for i, word in enumerate(words[locale])}

    task = LexiconChoice(names, [ENGLISH, NOWHERE, SWAHILI], encode, 3, 0)
    rows = task.run(Oracle([]))
    assert "eng" not in {row.language for row in rows}
    reasons = {row.language: (row.value, row.reason) for row in rows}
    assert reasons["xxx"] == (None, "the lexicon does not name it")
    assert reasons["swh"] == (None, "too few words in the lexicon")


def test_words_that_are_the_same_in_english_are_not_asked() -> None:
    for question in make_questions(data.names, Speaker("ind", "Indonesian", "low", "id"), 500, 0):
        word = question.prompt.splitlines()[0].split(": ")[1]
        assert question.options[question.answer].casefold() != f" {word}".casefold()


@pytest.mark.parametrize(
    ("nats", "right"),
    [
        ([2.0, 3.0, 9.0, 9.0], True),  # 2.0/2 bytes loses against 3.0/4
        ([1.4, 3.0, 9.0, 9.0], False),
        ([float("nan"), 3.0, 9.0, 9.0], None),
    ],
)
def test_the_answer_is_the_likeliest_a_byte(nats: list[float], right: bool | None) -> None:
    question = Question("rus", "from_english", "", (" ab", " да", " abc", " abd"), 1)
    assert answered(question, nats) is right
