"""`evaluation=embedded` measures the languages that are asked for, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from lm_eval.api.model import LM

from marco.config import bind_all, compose
from marco.evaluation.harness.families import Preparation, prepare_family
from marco.evaluation.rows import Row

LANGUAGES = ["eng", "swh", "tha"]


class Scorer:
    progress: Any = None

    def __init__(self, lm: LM) -> None:
        self.lm = lm


@pytest.fixture(scope="module")
def families() -> list[Any]:
    settings = bind_all(compose(["evaluation=embedded", "logger=none"])).evaluation
    how = Preparation(languages=LANGUAGES, items=settings.items_per_language)
    return [prepare_family(name, found, how) for name, found in settings.tasks.items()]


def rows_of(families: list[Any], lm: LM) -> dict[tuple[str, str], Row]:
    rows = [(family, row) for family in families for row in family.run(Scorer(lm))]
    return {
        (row.task, row.language): row
        for family, row in rows
        if row.subtask is None and row.metric == family.metric
    }


def test_rows(families: list[Any], cheat: LM, guess: LM) -> None:
    found = rows_of(families, cheat)
    tasks = ("translate", "lid", "cloze")
    assert set(found) == {(task, language) for task in tasks for language in LANGUAGES}
    for (task, _), row in found.items():
        assert row.value == (100 if task == "translate" else 1)
        assert row.chance == (None if task == "translate" else 0.25)
        assert row.n == (4 if task == "translate" else 8)
    assert rows_of(families, guess)["cloze", "tha"].value < 1


def test_translations_are_from_and_into_the_languages_asked_for(families: list[Any]) -> None:
    directions = {(row.source, row.language) for row in families[0].run(Scorer(Empty()))}
    assert directions >= {("eng", "swh"), ("swh", "eng"), ("eng", "tha"), ("tha", "eng")}
    assert {source for source, _ in directions} <= {None, *LANGUAGES}


class Empty(LM):
    loglikelihood = loglikelihood_rolling = None  # never asked

    def generate_until(self, requests: Any) -> list[str]:
        return ["" for _ in requests]
