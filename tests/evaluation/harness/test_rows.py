"""From tasks to languages: weights, intervals, chance, parts that are missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from marco.evaluation.harness.prepared import PreparedTask, requests_of
from marco.evaluation.harness.rows import task_rows
from marco.evaluation.harness.score import Scored, score

CHOICE = SimpleNamespace(OUTPUT_TYPE="multiple_choice")


def part(
    name: str, values: Sequence[Any], language: str = "swh", metric: str = "acc", **more: Any
) -> tuple[PreparedTask, Scored]:
    prepared = PreparedTask(name, "mmlu", language, more.get("source"), (metric,), CHOICE, ())
    value = more["value"] if "value" in more else sum(values) / len(values)
    return prepared, Scored({metric: values}, {metric: value}, more.get("chance", {}), ())


def test_one_task_is_the_language() -> None:
    (row,) = task_rows([part("a", [1, 0, 1, 1], chance={"acc": 0.25})])
    assert (row.task, row.language, row.group, row.metric) == ("mmlu", "swh", "low", "acc")
    assert (row.value, row.n, row.chance, row.subtask) == (0.75, 4, 0.25, None)
    assert row.stderr == pytest.approx(math.sqrt(0.75 * 0.25 / 3))
    assert row.low is not None
    assert row.high is not None
    assert 0 < row.low < 0.75 < row.high < 1


def test_subjects_by_their_size() -> None:
    parts = [part("a", [1, 1, 1, 0]), part("b", [0, 1])]
    whole, *leaves = task_rows(parts)
    assert [row.subtask for row in leaves] == ["a", "b"]
    assert whole.subtask is None
    assert whole.value == pytest.approx(4 / 6)
    assert whole.n == 6
    a, b = (row.stderr for row in leaves)
    assert a is not None
    assert b is not None
    assert whole.stderr == pytest.approx(math.sqrt((4 * a) ** 2 + (2 * b) ** 2) / 6)


def test_a_subject_of_one_document_weighs_as_one() -> None:
    whole, *_ = task_rows([part("a", [1, 1, 1, 0]), part("b", [0])])
    assert whole.value == pytest.approx(3 / 5)
    assert whole.stderr is None


def test_corpus_scores_count_once() -> None:
    parts = [
        part("x-swh", [("a", "b")] * 9, metric="bleu", value=10.0, source="eng"),
        part("y-swh", [("a", "b")], metric="bleu", value=20.0, source="yor"),
    ]
    whole, *leaves = task_rows(parts)
    assert whole.value == pytest.approx(15)
    assert whole.stderr is None
    assert [row.source for row in leaves] == ["eng", "yor"]
    assert whole.source is None


def test_a_part_without_value_leaves_none() -> None:
    failed = (part("b", [1])[0], RuntimeError("no data"))
    whole, good, bad = task_rows([part("a", [1, 1]), failed])
    assert whole.value is None
    assert whole.reason == "1 of 2 tasks have no value: b: RuntimeError: no data"
    assert good.value == 1
    assert bad.value is None


def test_languages_apart() -> None:
    rows = task_rows([part("a", [1, 1]), part("b", [0, 0], language="deu")])
    assert [(row.language, row.value) for row in rows] == [("swh", 1), ("deu", 0)]


def test_infinite_is_not_a_value() -> None:
    (row,) = task_rows([part("a", [(-math.inf, 3)], metric="bits_per_byte", value=math.inf)])
    assert row.value is None
    assert row.reason == "the value is inf"


def test_interval_of_a_likelihood(make_task: Callable[..., Any]) -> None:
    task = make_task("rolling")
    requests = requests_of(task, None)
    prepared = PreparedTask("r", "text", "swh", None, ("bits_per_byte",), task, requests)
    found = score(prepared, [[-float(len(request.args[0]))] for request in requests])
    (row,) = task_rows([(prepared, found)])
    pairs = found.values["bits_per_byte"]
    nats, lengths = -sum(v for v, _ in pairs), sum(n for _, n in pairs)
    assert row.value == pytest.approx(nats / lengths / math.log(2))
    assert row.stderr == pytest.approx(0, abs=1e-12)  # every document has the same
    assert set(found.items[0].metrics) == {
        f"{metric}:{piece}"
        for metric in ("bits_per_byte", "byte_perplexity")
        for piece in ("loglikelihood", "length")
    }


def test_items(make_task: Callable[..., Any]) -> None:
    task = make_task("choice")
    requests = requests_of(task, 3)
    prepared = PreparedTask("c", "set", "swh", None, None, task, requests)
    found = score(prepared, [[(-float(i % 4), False)] for i in range(12)])
    assert [item.prediction for item in found.items] == ["nyumba", "mti", "maji"]
    assert [item.target for item in found.items] == ["nyumba", "maji", "jua"]
    assert [item.metrics["acc"] for item in found.items] == [1, 0, 0]
    assert len({item.id for item in found.items}) == 3
    assert found.items[0].loglikelihoods == (0, -1, -2, -3)
    assert found.chance == {"acc": 0.25, "acc_norm": 0.25}


def test_a_metric_the_task_lacks(make_task: Callable[..., Any]) -> None:
    task = make_task("choice")
    prepared = PreparedTask("c", "set", "swh", None, ("bleu",), task, requests_of(task, 1))
    with pytest.raises(ValueError, match="none of the metrics bleu; it has acc, acc_norm"):
        score(prepared, [[(-1.0, False)]] * 4)
