"""The example of docs/evaluation.md: a task of one's own in one YAML, and a set with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval.evaluator import evaluate
from lm_eval.models.dummy import DummyLM
from lm_eval.tasks import TaskManager, get_task_dict

import marco
from marco.evaluation.suite.places import Place, places
from marco.evaluation.suite.task_set import TaskSet

DOCS = Path(marco.__file__).parent.parent / "docs" / "evaluation.md"
TASK, CONFIG = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_runs_in_lm_eval_and_in_marco(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[str, list[Any]], None]
) -> None:
    folder = tmp_path / "data" / "my_tasks"
    folder.mkdir(parents=True)
    (folder / "riddles.yaml").write_text(TASK)
    write("riddles.jsonl", [{"question": "Nyumba?", "options": list("abcd"), "answer": 2}] * 3)
    monkeypatch.chdir(tmp_path / "data")
    manager = TaskManager(include_path="my_tasks", include_defaults=False)
    found = evaluate(DummyLM(), get_task_dict(["riddles_swh"], manager), bootstrap_iters=0)
    assert found["n-samples"]["riddles_swh"]["effective"] == 3
    config = yaml.safe_load(CONFIG)
    task_set = TaskSet(**config["tasks"]["riddles"])
    assert places("riddles", task_set, Path(config["include_path"])) == [
        Place("riddles_swh", "swh", None)
    ]
