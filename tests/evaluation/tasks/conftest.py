"""lm-eval's own manager over marco's tasks, and models that know the answers, or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from lm_eval.api.model import LM
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager

from marco.evaluation.suite.index import OWN_TASKS

Evaluate = Callable[..., dict[str, Any]]


class Cheat(LM):
    """Reads the answer off the document that every request carries."""

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        return [(0.0 if r.idx == r.doc["answer"] else -99.0, False) for r in requests]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        raise AssertionError

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        return [request.doc["target"] for request in requests]


class Guess(Cheat):
    """Prefers options by a hash of their text, per byte, and writes nothing sensible."""

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        return [(-len(r.args[1].encode()) * _point(*r.args), False) for r in requests]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        return ["☃" for _ in requests]


def _point(*texts: str) -> float:
    return 0.5 + hashlib.sha256("\0".join(texts).encode()).digest()[0] / 512


@pytest.fixture(scope="session")
def manager() -> TaskManager:
    return TaskManager(include_path=str(OWN_TASKS), include_defaults=False)


@pytest.fixture
def evaluate(manager: TaskManager) -> Evaluate:
    """What plain `lm_eval --include_path marco/evaluation/tasks --tasks …` calls."""

    def run(model: LM, tasks: list[str], **options: Any) -> dict[str, Any]:
        found = simple_evaluate(
            model, tasks=tasks, task_manager=manager, bootstrap_iters=0, **options
        )
        return dict(found)

    return run


@pytest.fixture
def cheat() -> LM:
    return Cheat()


@pytest.fixture
def guess() -> LM:
    return Guess()
