from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from marco.data.documents import Corpus, Document
from marco.errors import ConfigError
from marco.evaluation.rows import Row, macro
from marco.evaluation.scoring import Shard
from marco.evaluation.settings import SweepSettings
from marco.evaluation.suite.task_set import TaskSet
from marco.evaluation.sweep import EvaluationSweep
from marco.evaluation.task import Scorer


class Letters:
    """A tokenizer of letters, as far as a sweep uses one."""

    end_of_text = 96

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [[ord(letter) % 96 for letter in text] for text in texts]


def corpus() -> Corpus:
    def documents(language: str, *texts: str) -> list[Document]:
        return [
            Document(text, language, "test", str(i), f"article-{i}") for i, text in enumerate(texts)
        ]

    return Corpus(
        train={"eng": documents("eng", "all are born free"), "deu": documents("deu", "alle")},
        held_out={
            "eng": documents("eng", "free and equal", "in dignity"),
            "deu": documents("deu", "frei und gleich", "an Würde"),
            "swh": [],
        },
    )


def sweep(**fields: object) -> EvaluationSweep:
    settings = SweepSettings(max_tokens=256, items_per_language=4, **fields)  # type: ignore[arg-type]
    found = settings.prepare(Letters(), corpus())  # type: ignore[arg-type]
    assert found is not None
    return found


def test_messages_need_a_chat_template() -> None:
    class Plain(Letters):
        def transformers(self) -> SimpleNamespace:
            return SimpleNamespace(chat_template=None)

    settings = SweepSettings(tasks={"x": TaskSet(["xnli_sw"])}, chat_template=True)
    with pytest.raises(ConfigError, match=r"chat_template=true: the tokenizer has no chat temp"):
        settings.prepare(Plain(), corpus())  # type: ignore[arg-type]


def test_the_rows_are_tidy_and_repeatable(tiny_model: nn.Module) -> None:
    prepared = sweep()
    assert prepared.languages == ["eng", "deu"]
    rows = prepared.run(tiny_model)
    keys = [(row.language, row.metric) for row in rows]
    assert len(set(keys)) == len(keys) == 2 * 2 + 3
    assert {row.group for row in rows} == {"english", "high"}
    assert all(row.value is not None and row.n > 0 for row in rows)
    assert all(
        row.low is not None and row.high is not None and row.low <= (row.value or 0) <= row.high
        for row in rows
    )
    assert prepared.run(tiny_model) == rows
    assert (macro(rows, "bits_per_byte") or 0) > 1


def test_it_measures_what_the_model_says() -> None:
    class Uniform(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> Tensor:
            return torch.full(labels.shape, math.log(2)) * (labels >= 0)

    rows = {(row.language, row.metric): row.value for row in sweep(lexicon=False).run(Uniform())}
    assert rows["eng", "bits_per_byte"] == pytest.approx(1)
    assert rows["deu", "bits_per_byte"] == pytest.approx(23 / 24)  # ü is one token of two bytes
    assert rows["eng", "nats_per_article"] == pytest.approx(12 * math.log(2))


def test_a_task_that_fails_does_not_stop_the_others(
    tiny_model: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        name = "failing"
        metric = "chrf"
        languages = {"eng": "english", "deu": "high"}

        def run(self, scorer: Scorer) -> list[Row]:
            raise RuntimeError("out of memory")

    prepared = sweep(lexicon=False)
    prepared.tasks.insert(0, Failing())
    rows = prepared.run(tiny_model)
    assert [row.language for row in rows if row.task == "failing"] == ["eng", "deu"]
    assert rows[0].reason == "RuntimeError: out of memory"
    assert rows[0].value is None
    assert macro(rows, "bits_per_byte") is not None
    assert "failing failed: RuntimeError: out of memory" in caplog.text
    with pytest.raises(RuntimeError, match="out of memory"):  # ranks must stay in step
        prepared.run(tiny_model, shard=Shard(0, 2))


def test_an_interrupt_is_not_a_failure(tiny_model: nn.Module) -> None:
    def interrupt(task: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep().run(tiny_model, progress=interrupt)


def test_progress_names_the_task(tiny_model: nn.Module) -> None:
    seen: list[str] = []
    sweep().run(tiny_model, progress=lambda task, done, total: seen.append(task))
    assert set(seen) == {"likelihood", "lexicon"}


def test_a_language_that_is_asked_for_and_has_no_text_is_reported(tiny_model: nn.Module) -> None:
    rows = sweep(languages=["deu", "swh"], lexicon=False).run(tiny_model)
    assert [row.language for row in rows] == ["deu", "deu", "swh", "swh"]
    assert rows[2].reason == "no held-out text"


def test_nothing_enabled_is_no_sweep() -> None:
    settings = SweepSettings(likelihood=False, lexicon=False)
    assert settings.prepare(Letters(), corpus()) is None  # type: ignore[arg-type]
    never = SweepSettings(at_start=False, at_end=False)
    assert never.prepare(Letters(), corpus()) is None  # type: ignore[arg-type]


def test_the_reference_has_every_language_with_text() -> None:
    assert set(sweep(lexicon=False).reference_xz) == {"eng", "deu"}
