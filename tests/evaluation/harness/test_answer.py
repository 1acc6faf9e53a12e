"""Tasks are asked together, and fail alone: with a reason, in their time, and without a guess."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from marco.evaluation.harness import answer as module
from marco.evaluation.harness.answer import TookTooLongError, answer
from marco.evaluation.harness.prepared import PreparedTask, requests_of
from marco.evaluation.harness.rows import task_rows
from marco.evaluation.harness.score import score


@pytest.fixture
def tasks(make_task: Callable[..., Any]) -> list[PreparedTask]:
    found = []
    for name, language in (("one", "swh"), ("two", "yor"), ("three", "deu")):
        task = make_task("choice", task=name, doc_to_text=name + ": {{question}}")
        requests = requests_of(task, None)
        found.append(PreparedTask(name, "set", language, None, ("acc",), task, requests))
    return found


def fails_for(name: str, error: Exception) -> Callable[[str, str], float]:
    def likelihood(context: str, text: str) -> float:
        if context.startswith(f"{name}:"):
            raise error
        return -float(len(text))

    return likelihood


def test_together_when_all_is_well(tasks: list[PreparedTask], scripted: Any) -> None:
    lm = scripted()
    calls = []
    asked = lm.loglikelihood
    lm.loglikelihood = lambda requests: (calls.append(len(requests)), asked(requests))[1]
    assert all(not isinstance(found, Exception) for _, found in answer(lm, tasks))
    assert calls == [3 * 48]


def test_small_groups_give_the_same(
    tasks: list[PreparedTask], scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = list(answer(scripted(), tasks))
    monkeypatch.setattr(module, "TOGETHER", 50)
    assert list(answer(scripted(), tasks)) == together


def test_one_fails_alone(tasks: list[PreparedTask], scripted: Any) -> None:
    lm = scripted(fails_for("two", RuntimeError("the network fell\nasleep")))
    found = {task.name: outcome for task, outcome in answer(lm, tasks)}
    assert isinstance(found.pop("two"), RuntimeError)
    assert set(found) == {"one", "three"}
    assert not any(isinstance(outcome, Exception) for outcome in found.values())
    assert lm.progress is None


def test_failed_row_says_why(tasks: list[PreparedTask], scripted: Any) -> None:
    lm = scripted(fails_for("two", RuntimeError("the network fell\nasleep")))
    rows = {
        row.language: row
        for task, found in answer(lm, tasks)
        for row in task_rows(
            [(task, found if isinstance(found, Exception) else score(task, found))]
        )
    }
    assert rows["yor"].value is None
    assert rows["yor"].metric == "acc"
    assert rows["yor"].reason == "RuntimeError: the network fell"
    assert rows["swh"].value is not None


def test_not_a_number_is_no_score(tasks: list[PreparedTask], scripted: Any) -> None:
    lm = scripted(lambda context, text: math.nan if "Nambari 3" in context else -1.0)
    ((task, responses),) = answer(lm, tasks[:1])
    assert not isinstance(responses, Exception)
    with pytest.raises(ArithmeticError, match="4 of 48 log-likelihoods are not numbers"):
        score(task, responses)


def test_too_long(tasks: list[PreparedTask], scripted: Any) -> None:
    def slow(context: str, text: str) -> float:
        if context.startswith("two:"):
            time.sleep(0.02)
        return -1.0

    found = {task.name: outcome for task, outcome in answer(scripted(slow), tasks, 0.2 / 60)}
    assert isinstance(found["two"], TookTooLongError)
    assert not isinstance(found["one"], Exception)
    assert not isinstance(found["three"], Exception)


def test_what_could_not_be_prepared(tasks: list[PreparedTask], scripted: Any) -> None:
    broken = replace(tasks[0], requests=(), task=None, failure=FileNotFoundError("no data"))
    found = list(answer(scripted(), [broken, tasks[1]]))
    assert [task.name for task, _ in found] == ["one", "two"]
    assert found[0][1] is broken.failure


def test_progress_counts_requests(tasks: list[PreparedTask], scripted: Any) -> None:
    seen: list[tuple[int, int]] = []
    list(answer(scripted(), tasks, progress=lambda done, total: seen.append((done, total))))
    assert seen == sorted(seen)
    assert seen[-1] == (144, 144)


def test_interrupt_is_no_failure(tasks: list[PreparedTask], scripted: Any) -> None:
    def interrupted(context: str, text: str) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(answer(scripted(interrupted), tasks))


def test_repeats(make_task: Callable[..., Any], scripted: Any) -> None:
    task = make_task("written", repeats=3)
    prepared = PreparedTask("w", "set", "swh", None, None, task, requests_of(task, 2))
    ((_, responses),) = answer(scripted(), [prepared])
    assert [len(each) for each in responses] == [3, 3]
