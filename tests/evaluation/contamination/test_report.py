"""Rows of prepared tasks, by a scripted model, by real ones, and against an index."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from lm_eval.api.task import ConfigurableTask
from scipy import stats

from marco.evaluation.contamination.ngram_index import build_index
from marco.evaluation.contamination.report import option_order_rows, overlap_rows
from marco.evaluation.contamination.tasks import texts
from marco.evaluation.harness.prepared import PreparedTask, requests_of
from marco.evaluation.intervals import wilson

PROMPT = (
    "{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}"
    "\nAnswer:"
)


def documents(seed: int, count: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)

    def words(count: int) -> str:
        return " ".join(f"w{draw.randrange(120)}" for _ in range(count))

    return [
        {"question": words(4), "choices": [words(2) for _ in range(4)], "answer": draw.randrange(4)}
        for _ in range(count)
    ]


def prepare(data: list[dict[str, Any]], name: str = "one", **config: Any) -> PreparedTask:
    task = ConfigurableTask(
        config={
            "task": name,
            "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(data)},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": PROMPT,
            "doc_to_choice": ["A", "B", "C", "D"],
            "doc_to_target": "answer",
            **config,
        }
    )
    task.set_fewshot_seed(seed=1)
    return PreparedTask(name, "family", "swh", None, None, task, requests_of(task, None))


def asked(task: PreparedTask) -> list[str]:
    return [text.partition("\nAnswer:")[0] for text in texts(task)]


class Scripted:
    """Likes some texts, and of the others the later ones."""

    def __init__(self, liked: Sequence[str]) -> None:
        self.liked = set(liked)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        return [
            (0.0 if "".join(request.args) in self.liked else number - 1e6, False)
            for number, request in enumerate(requests)
        ]


def test_a_model_trained_on_a_task_is_flagged(trained: Any) -> None:
    seen, unseen = prepare(documents(0, 32)), prepare(documents(1, 32))
    published = asked(seen)
    model = trained(lambda step: published)
    p, share, outliers = option_order_rows(model, [seen])
    assert p.value < 1e-6
    assert share.low > 0.7
    assert outliers.value > 0.8
    p, share, _ = option_order_rows(model, [unseen])
    assert p.value > 0.01
    assert share.low < 1 / 24 < share.high


def test_a_fresh_model_is_not(trained: Any) -> None:
    p, share, outliers = option_order_rows(trained(None), [prepare(documents(0, 200))])
    assert p.value > 0.01
    assert share.low < 1 / 24 < share.high
    assert outliers.value < 0.4


def test_a_family_of_tasks_is_one_row_a_language_and_metric() -> None:
    first, second = prepare(documents(0, 3), "one"), prepare(documents(1, 2), "two")
    p, share, outliers = option_order_rows(Scripted(asked(first)), [first, second])
    assert {(row.task, row.language) for row in (p, share, outliers)} == {("family", "swh")}
    assert (share.metric, share.value, share.n) == ("option_order_share", 3 / 5, 5)
    assert (share.chance, (share.low, share.high)) == (pytest.approx(1 / 24), wilson(3, 5))
    assert (p.metric, p.value) == ("option_order_p", pytest.approx(stats.binom.sf(2, 5, 1 / 24)))
    assert (outliers.metric, outliers.n) == ("option_order_outliers", 5)
    assert outliers.chance is None
    few = option_order_rows(Scripted([]), [first, second], items=2)
    assert [row.n for row in few] == [2, 2, 2]


def test_what_cannot_be_tested_says_why_or_is_no_row() -> None:
    plain = {"doc_to_text": "{{question}}", "doc_to_choice": "choices"}
    written = {"output_type": "generate_until", "doc_to_target": "{{answer}}"}
    data = documents(0, 2)
    numbers = [{**doc, "choices": ["1", "2", "3", "4"]} for doc in data]
    (row,) = option_order_rows(Scripted([]), [prepare(data, **plain)])
    assert (row.value, row.n, row.reason) == (None, 0, "its prompts do not list the options")
    (row,) = option_order_rows(Scripted([]), [prepare(numbers)])
    assert (row.value, row.reason) == (None, "2 items with numbers in order")
    failed = PreparedTask("x", "x", "swh", None, None, None, (), ValueError("no data"))
    assert option_order_rows(Scripted([]), [prepare(data, **written), failed]) == []


def test_texts_end_in_the_right_answer() -> None:
    doc = {"question": "Who?", "choices": ["he", "she", "it", "we"], "answer": 1}
    plain = {"doc_to_text": "{{question}}", "doc_to_choice": "choices"}
    assert texts(prepare([doc], **plain)) == ["Who?\nshe"]
    winograd = {"doc_to_text": "answer", "doc_to_choice": "choices", "doc_to_target": "question"}
    assert texts(prepare([doc], **winograd)) == ["she\nWho?"]
    written = {"output_type": "generate_until", "doc_to_target": "{{answer}}"}
    assert texts(prepare([doc], **written))[0].endswith("Answer:\n1")


def test_planted_documents_are_found(tmp_path: Path) -> None:
    task = prepare(documents(0, 8))
    build_index([f"Before. {asked(task)[3]} And after."], tmp_path / "index", source="x", words=5)
    share, ngrams = overlap_rows(tmp_path / "index", [task])
    assert (share.task, share.language, share.metric) == ("family", "swh", "overlap")
    assert (share.value, share.n) == (1 / 8, 8)
    assert 0 < ngrams.value < 1 / 8
