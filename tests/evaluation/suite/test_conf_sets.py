"""Every set of tasks in conf/evaluation: names, languages, metrics and splits, from YAML alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

import marco
from marco.evaluation.suite.index import configs_of
from marco.evaluation.suite.languages import TaskLanguages, task_languages
from marco.evaluation.suite.task_set import TaskSet
from marco.evaluation.suite.tasks import resolve
from marco.languages import MARCO_LANGUAGES, get

CONF = Path(marco.__file__).parent.parent / "conf" / "evaluation"


def task_sets() -> Iterator[tuple[str, str, TaskSet]]:
    for path in sorted(CONF.rglob("*.yaml")):
        tasks = yaml.safe_load(path.read_text(encoding="utf-8")).get("tasks") or {}
        for name, entry in tasks.items():
            yield path.stem, name, TaskSet(**entry)


SETS = {(config, name): task_set for config, name, task_set in task_sets()}

# Table 4 of the paper: languages, shots, metric, split. Its "validation" is called so here.
TABLE_4 = {
    "agieval": (1, 5, "acc", "test"),
    "arc": (1, 25, "acc", "test"),
    "belebele": (28, 1, "acc", "test"),
    "ceval": (1, 5, "acc", "val"),
    "flores_from_english": (28, 1, "bleu", "devtest"),
    "flores_to_english": (28, 1, "bleu", "devtest"),
    "mmlu": (1, 5, "acc", "test"),
    "tydiqa": (6, 1, "f1", "validation"),
    "wmt16": (3, 1, "bleu", "test"),
    "xcopa": (6, 5, "acc", "validation"),
    "x_mmlu": (13, 5, "acc", "val"),
    "xstorycloze": (6, 5, "acc", "eval"),
}

# Tasks and languages of the others.
SIZES = {
    ("marco_chat", "mmmlu"): (14 * 57, 14),
    ("cmmlu", "cmmlu"): (67, 1),
    ("flores_any_to_any", "flores"): (42, 7),
    ("global_piqa", "global_piqa_nonparallel"): (136, 113),
    ("global_piqa", "global_piqa_parallel"): (131, 109),
    ("include", "include"): (178, 44),
    ("mgsm", "mgsm"): (11, 11),
    ("paws_x", "paws_x"): (7, 7),
    ("xnli", "xnli"): (15, 15),
    ("xwinograd", "xwinograd"): (6, 6),
}

# Splits of data sets that lm-eval's YAML does not name.
UNNAMED_SPLITS = {"alexandrainst/m_mmlu": {"train", "val", "test"}}


@cache
def leaves(config: str, name: str) -> list[tuple[str, TaskLanguages]]:
    found = resolve(name, SETS[config, name])
    own = {leaf: configs_of(leaf) for leaf in found if leaf.startswith("marco_")}
    return [(leaf, task_languages(leaf, own.get(leaf))) for leaf in found]


def languages(config: str, name: str) -> set[str]:
    """Return the languages of a set, or, where all is into English, those translated from."""
    found = leaves(config, name)
    into = {task.language for _, task in found}
    return {str(task.source) for _, task in found} if into == {"eng"} and len(found) == 28 else into


@pytest.mark.parametrize(("config", "name"), SETS)
def test_a_set_can_be_measured(config: str, name: str) -> None:
    task_set = SETS[config, name]
    for leaf, task in leaves(config, name):
        language = task_set.language or task.language
        assert language is not None, f"{leaf} has no language"
        assert get(language).code == language
        if leaf.startswith("marco_") or leaf == leaves(config, name)[0][0]:
            check_yaml(leaf, task_set)


def check_yaml(leaf: str, task_set: TaskSet) -> None:
    yaml_of = configs_of(leaf)
    metrics = {metric["metric"] for metric in yaml_of["metric_list"]}
    assert set(task_set.metrics or []) <= metrics, leaf
    splits = {yaml_of.get(f"{kind}_split") for kind in ("training", "validation", "test")}
    splits |= UNNAMED_SPLITS.get(yaml_of.get("dataset_path"), set())
    assert task_set.split is None or task_set.split in splits, leaf


def test_the_rows_of_table_4() -> None:
    ours = {name: task_set for (config, name), task_set in SETS.items() if config == "marco_base"}
    assert {
        name: (
            len(languages("marco_base", name)),
            task_set.shots,
            (task_set.metrics or [""])[0],
            task_set.split,
        )
        for name, task_set in ours.items()
    } == TABLE_4


@pytest.mark.parametrize("name", ["belebele", "tydiqa", "xcopa", "x_mmlu", "xstorycloze"])
def test_only_languages_of_the_paper(name: str) -> None:
    assert languages("marco_base", name) <= set(MARCO_LANGUAGES)
    assert len(leaves("marco_base", name)) == len(languages("marco_base", name))


def test_flores_has_both_directions_of_the_28() -> None:
    others = set(MARCO_LANGUAGES) - {"eng"}
    assert languages("marco_base", "flores_from_english") == others
    assert languages("marco_base", "flores_to_english") == others


def test_any_to_any_is_every_direction_without_english() -> None:
    found = {(task.source, task.target) for _, task in leaves("flores_any_to_any", "flores")}
    ends = {source for source, _ in found}
    assert "eng" not in ends
    assert found == {(a, b) for a in ends for b in ends if a != b}


@pytest.mark.parametrize(("config", "name"), SIZES)
def test_sizes(config: str, name: str) -> None:
    found = leaves(config, name)
    assert (len(found), len(languages(config, name))) == SIZES[config, name]


def test_afrobench_has_a_prompt_of_each_task() -> None:
    names = [name for config, name in SETS if config == "afrobench"]
    assert len(names) == 15
    african = {language for name in names for language in languages("afrobench", name)}
    assert {"amh", "hau", "ibo", "swh", "yor", "zul"} < african
