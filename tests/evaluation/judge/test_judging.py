"""Scripted judges, whose verdicts are known."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path

import pytest

from marco.evaluation.judge.endpoint import JudgeError
from marco.evaluation.judge.judging import GIVE_UP, NO_VERDICT, judge, write_judgements
from marco.evaluation.judge.prompts import Messages
from marco.evaluation.judge.questions import Question
from marco.evaluation.judge.scores import failures
from marco.evaluation.lm.cache import RequestCache


def quality(messages: Messages) -> tuple[int, int]:
    """How good A's and B's last answers are: they say it themselves."""
    blocks = messages[1]["content"].split("[Beginning of")[-2:]
    first, second = (int(re.findall(r"quality (\d+)", block)[-1]) for block in blocks)
    return first, second


def perfect(messages: Messages) -> str:
    first, second = quality(messages)
    return "[[A]]" if first > second else "[[B]]" if second > first else "[[C]]"


def answers(questions: list[Question], *values: tuple[int, int]) -> list[tuple[str, ...]]:
    """Each question's qualities of its turns, over again for the languages."""
    return [
        tuple(f"quality {value}" for value in values[index % len(values)])
        for index in range(len(questions))
    ]


#: Of six questions: both won; won and lost; both tied; won and tied; both lost; tied and lost.
MODEL = [(5, 5), (5, 1), (3, 3), (5, 3), (1, 1), (3, 1)]
OUTCOMES = [
    ("win", "win"), ("win", "loss"), ("tie", "tie"), ("win", "tie"), ("loss", "loss"),
    ("tie", "loss"),
]  # fmt: skip


def test_a_perfect_judge_says_what_is_so(questions: list[Question]) -> None:
    found = judge(questions, answers(questions, *MODEL), answers(questions, (3, 3)), perfect)
    assert [tuple(c.outcome for c in turns) for turns in found] == OUTCOMES * 2
    assert not any(c.disagrees for turns in found for c in turns)
    first = found[0][0].first
    assert (first.question, first.turn, first.model_first, first.winner) == (0, 0, True, "model")
    assert found[0][0].second.winner == "model"
    assert found[0][0].second.text == "[[B]]"


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_judge_that_goes_by_the_order_gives_ties(questions: list[Question], letter: str) -> None:
    found = judge(
        questions,
        answers(questions, *MODEL),
        answers(questions, (3, 3)),
        lambda _: f"I always take [[{letter}]]",
    )
    assert {c.outcome for turns in found for c in turns} == {"tie"}
    assert all(c.disagrees for turns in found for c in turns)


def test_a_judge_that_wins_in_one_order_only_gives_a_tie(questions: list[Question]) -> None:
    def half(messages: Messages) -> str:
        first, second = quality(messages)
        return "[[A]]" if first > second else "[[C]]"

    found = judge(questions, answers(questions, (5, 5)), answers(questions, (3, 3)), half)
    assert {c.outcome for turns in found for c in turns} == {"tie"}
    assert {(c.first.winner, c.second.winner) for t in found for c in t} == {("model", "tie")}


def test_failures_have_reasons_and_the_others_go_on(questions: list[Question]) -> None:
    def sometimes(messages: Messages) -> str:
        text = messages[1]["content"]
        if "eng 1?" in text:
            raise JudgeError("HTTP 500: out of memory")
        return "I cannot say." if "eng 2?" in text and "Na kisha?" in text else perfect(messages)

    found = judge(
        questions, answers(questions, *MODEL), answers(questions, (3, 3)), sometimes, concurrency=4
    )
    assert [c.outcome for c in found[1]] == [None, None]
    assert [c.outcome for c in found[2]] == ["tie", None]
    rest = [tuple(c.outcome for c in turns) for turns in found[3:]]
    assert rest == (OUTCOMES * 2)[3:]
    assert failures(found) == {"HTTP 500: out of memory": 4, NO_VERDICT: 2}
    assert found[2][1].first.text == "I cannot say."


def test_an_interrupted_run_asks_only_what_is_open(
    questions: list[Question], tmp_path: Path
) -> None:
    asked: list[Messages] = []

    def counted(messages: Messages) -> str:
        if len(asked) == 7:
            raise KeyboardInterrupt
        asked.append(messages)
        return perfect(messages)

    sides = answers(questions, *MODEL), answers(questions, (3, 3))
    path = tmp_path / "cache.jsonl"
    with pytest.raises(KeyboardInterrupt):
        judge(questions, *sides, counted, cache=RequestCache(path, "judge"))
    before = len(asked)
    steps: list[tuple[int, int]] = []
    cache = RequestCache(path, "judge")
    again: list[Messages] = []

    def go_on(messages: Messages) -> str:
        again.append(messages)
        return perfect(messages)

    found = judge(questions, *sides, go_on, cache=cache, progress=lambda *step: steps.append(step))
    kept = cache.hits
    assert 0 < kept <= before
    assert len(again) == 48 - kept
    assert steps[0] == (kept + 1, 48)
    assert steps[-1] == (48, 48)
    assert [tuple(c.outcome for c in turns) for turns in found] == OUTCOMES * 2
    other = RequestCache(path, "another judge")
    judge(questions, *sides, perfect, cache=other)
    assert other.hits == 0


def test_failures_are_asked_again(questions: list[Question], tmp_path: Path) -> None:
    sides = answers(questions, *MODEL), answers(questions, (3, 3))
    path = tmp_path / "cache.jsonl"
    judge(questions, *sides, lambda _: "Hm.", cache=RequestCache(path, "judge"))
    cache = RequestCache(path, "judge")
    found = judge(questions, *sides, perfect, cache=cache)
    assert cache.hits == 0
    assert not failures(found)


def test_an_endpoint_that_is_gone_is_given_up() -> None:
    many = [Question(str(i), "eng", "", (f"{i}?",)) for i in range(100)]
    asked = []

    def gone(messages: Messages) -> str:
        asked.append(messages)
        raise JudgeError("connection refused")

    found = judge(many, answers(many, (1, 1)), answers(many, (1, 1)), gone, concurrency=2)
    assert GIVE_UP <= len(asked) <= GIVE_UP + 1  # one more may be under way
    counted = failures(found)
    assert counted.total() == 200
    assert counted["connection refused"] == len(asked)
    assert "not asked, after 32 failures in a row" in counted


def test_judgements_are_under_way_together(questions: list[Question]) -> None:
    together = threading.Barrier(4, timeout=10)

    def waiting(messages: Messages) -> str:
        together.wait()
        return "[[C]]"

    start = time.monotonic()
    found = judge(
        questions, answers(questions, (1, 1)), answers(questions, (1, 1)), waiting, concurrency=4
    )
    assert {c.outcome for turns in found for c in turns} == {"tie"}
    assert time.monotonic() - start < 10


def test_all_that_the_judge_said_is_written(questions: list[Question], tmp_path: Path) -> None:
    found = judge(
        questions,
        answers(questions, *MODEL),
        answers(questions, (3, 3)),
        lambda messages: f"ጥሩ \ud800 {perfect(messages)}",
    )
    path = write_judgements(tmp_path, questions, found)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 48
    assert lines[1] == {
        "question": "0", "language": "eng", "turn": 1, "model_first": False, "winner": "model",
        "text": "ጥሩ ? [[B]]", "failure": None,
    }  # fmt: skip
