from __future__ import annotations

import pytest

from marco.evaluation.judge.prompts import ask, verdict
from marco.evaluation.judge.questions import Question

QUESTION = Question("1", "swh", "math", ("Mbili na mbili?", "Na tano?"), ("nne", "tisa"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Because. [[A]]", "A"),
        ("**[[B]]**", "B"),
        ("[[C]]\n", "C"),
        ("<think>[[A]] would be wrong</think> So [[B]]", "B"),
        ("[A]", None),
        ("[[D]] [[a]]", None),
        ("", None),
    ],
)
def test_the_last_verdict_counts(text: str, found: str | None) -> None:
    assert verdict(text) == found


def test_the_first_turn_shows_nothing_of_the_second() -> None:
    system, user = ask(QUESTION, 0, ("jibu {moja}", "late"), ("jibu mbili", "late"))
    assert system["role"] == "system"
    assert "writes in Swahili" in system["content"]
    assert "reference" in system["content"]
    text = user["content"]
    assert text.index("Mbili na mbili?") < text.index("nne") < text.index("jibu {moja}")
    order = [text.index(part) for part in ("A's", "jibu {moja}", "B's", "jibu mbili")]
    assert order == sorted(order)
    for hidden in ("Na tano?", "tisa", "late"):
        assert hidden not in text


def test_a_later_turn_shows_the_conversation_with_each() -> None:
    question = Question("1", "swh", "", QUESTION.turns)
    system, user = ask(question, 1, ("a1", "a2"), ("b1", "b2"))
    assert "last message" in system["content"]
    assert "reference" not in system["content"]
    text = user["content"]
    order = [text.index(part) for part in ("a1", "a2", "b1", "b2")]
    assert order == sorted(order)
    assert text.count("Na tano?") == 2
    swapped = ask(question, 1, ("b1", "b2"), ("a1", "a2"))[1]["content"]
    assert swapped.index("b2") < swapped.index("a1")
    assert "tisa" in ask(QUESTION, 1, ("a1", "a2"), ("b1", "b2"))[1]["content"]
