"""Small tasks in lm-eval's own format, on data in memory, and a model that is quick to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import datasets
import pytest
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask


def documents(count: int = 12) -> datasets.Dataset:
    words = ["nyumba", "mti", "maji", "moto", "jua", "mwezi"]
    return datasets.Dataset.from_list(
        [
            {
                "question": f"Nambari {number} ni",
                "choices": [words[(number + i) % 6] for i in range(4)],
                "answer": number % 4,
                "text": f"Hati ya {number}: " + " ".join(words[: 1 + number % 5]),
            }
            for number in range(count)
        ]
    )


KINDS: dict[str, dict[str, Any]] = {
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
        ],
    },
    "rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte"}, {"metric": "byte_perplexity"}],
    },
    "written": {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{choices[answer]}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
        "metric_list": [
            {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True},
            {"metric": "chrf", "aggregation": "chrf", "higher_is_better": True},
        ],
    },
}


@pytest.fixture
def make_task() -> Callable[..., ConfigurableTask]:
    def make(kind: str, **config: Any) -> ConfigurableTask:
        def data(**_: Any) -> dict[str, datasets.Dataset]:
            return {"test": documents(), "train": documents(20).select(range(12, 20))}

        task = ConfigurableTask(
            config={
                "task": f"{kind}_swh",
                "custom_dataset": data,
                "test_split": "test",
                "training_split": "train",
                "fewshot_split": "train",
                **KINDS[kind],
                **config,
            }
        )
        task.set_fewshot_seed(seed=1234)
        return task

    return make


class Scripted(LM):
    """Prefers short continuations, writes the last word of what it is asked; no network."""

    def __init__(self, likelihood: Callable[[str, str], float] | None = None) -> None:
        super().__init__()
        self.likelihood = likelihood or (lambda context, text: -0.5 * len(text))
        self.progress: Any = None

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        return [(self.likelihood(*args), False) for args in self._args(requests)]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        return [self.likelihood("", text) for (text,) in self._args(requests)]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        return [context.split()[-1] for context, _ in self._args(requests)]

    def _args(self, requests: Sequence[Any]) -> Iterator[Any]:
        for number, request in enumerate(requests, start=1):
            yield request.args
            if self.progress is not None:
                self.progress(number, len(requests))


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted
