"""The numbers are lm-eval's own, for every kind of task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lm_eval.evaluator import evaluate

from marco.evaluation.harness.answer import answer
from marco.evaluation.harness.prepared import PreparedTask, requests_of
from marco.evaluation.harness.rows import task_rows
from marco.evaluation.harness.score import score


def mixed(context: str, text: str) -> float:
    """Some likelihood that depends on everything, the same for the same text."""
    return -((sum(map(ord, context)) * 7 + sum(map(ord, text)) * 13) % 97) / 7 - len(text) / 3


@pytest.mark.parametrize("kind", ["choice", "rolling", "written"])
@pytest.mark.parametrize(("limit", "shots"), [(None, 0), (5, 0), (None, 2)])
def test_same_as_lm_eval(
    make_task: Callable[..., Any], scripted: Any, kind: str, limit: int | None, shots: int
) -> None:
    theirs = make_task(kind, num_fewshot=shots)
    expected = evaluate(
        scripted(mixed), {"tasks": {theirs.task_name: theirs}}, limit=limit, bootstrap_iters=10
    )
    ours = make_task(kind, num_fewshot=shots)
    requests = requests_of(ours, limit)
    prepared = PreparedTask(ours.task_name, "set", "swh", None, None, ours, requests)
    ((_, responses),) = answer(scripted(mixed), [prepared])
    assert not isinstance(responses, Exception)
    found = score(prepared, responses)

    results = expected["results"][ours.task_name]
    assert found.aggregates
    for metric, value in found.aggregates.items():
        assert value == results[f"{metric},none"]
    rows = {row.metric: row for row in task_rows([(prepared, found)])}
    assert set(rows) == set(found.aggregates)
    for metric in ("acc", "acc_norm", "exact_match"):
        if metric in rows:
            assert rows[metric].stderr == pytest.approx(results[f"{metric}_stderr,none"])
            assert rows[metric].n == (limit or 12)
    samples = expected["samples"][ours.task_name]
    assert [item.metrics.get("acc") for item in found.items] == [s.get("acc") for s in samples]


def test_scored_again_with_other_responses(make_task: Callable[..., Any], scripted: Any) -> None:
    """Prepared once, run many times: nothing of one run is left for the next."""
    task = make_task("choice")
    prepared = PreparedTask("t", "set", "swh", None, None, task, requests_of(task, None))
    results = []
    for likelihood in (mixed, None, mixed):
        ((_, responses),) = answer(scripted(likelihood), [prepared])
        assert not isinstance(responses, Exception)
        results.append(score(prepared, responses))
    assert results[0] == results[2]
    assert results[0].aggregates != results[1].aggregates
