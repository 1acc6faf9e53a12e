"""Data from a folder in the hub's layouts, through lm-eval's own YAML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.evaluator import evaluate
from lm_eval.models.dummy import DummyLM

from marco.errors import ConfigError, DataError
from marco.evaluation.suite.build import build
from marco.evaluation.suite.offline import from_hub, local_data
from marco.evaluation.suite.task_set import TaskSet

Rows = list[dict[str, Any]]
Write = Callable[[str, Rows], None]

CARD = """---
language: [en]
configs:
- config_name: fra_Latn
  data_files: [{split: test, path: data/fra_Latn.jsonl}]
- config_name: deu_Latn
  data_files: [{split: test, path: data/deu_Latn.jsonl}]
---
# A data set
"""
XCOPA = {"premise": "It fell.", "choice1": "It broke.", "choice2": "It grew.", "changed": False}


def wanted(**more: object) -> TaskSet:
    return TaskSet(names=["any"], **more)


def found(tmp_path: Path, name: str | None, *splits: str) -> tuple[str, dict[str, list[str]]]:
    config = {"dataset_path": "owner/set", "dataset_name": name, "test_split": "test"}
    changes = local_data(config, splits or ["test"], tmp_path / "data")
    assert changes["dataset_name"] is None
    files = changes["dataset_kwargs"]["data_files"]
    root = tmp_path / "data" / "owner" / "set"
    return changes["dataset_path"], {
        split: [str(Path(path).relative_to(root)) for path in paths]
        for split, paths in files.items()
    }


@pytest.mark.parametrize(
    ("name", "file", "reader"),
    [
        ("sw", "sw/test.parquet", "parquet"),
        ("sw", "sw/test-00000-of-00001.parquet", "parquet"),
        ("sw", "sw/test-00000-of-00001-0a1b2c.parquet", "parquet"),
        ("sw", "data/sw/test-00000-of-00001.parquet", "parquet"),
        ("sw", "sw/test/0000.parquet", "parquet"),
        ("sw", "sw-test.parquet", "parquet"),
        ("sw", "data/sw-test.jsonl", "json"),
        ("sw", "sw/test.jsonl", "json"),
        ("sw", "sw/test.csv", "csv"),
        (None, "test.parquet", "parquet"),
        (None, "data/test-00000-of-00001.parquet", "parquet"),
        (None, "default/test/0000.parquet", "parquet"),
    ],
)
def test_layouts(tmp_path: Path, write: Write, name: str | None, file: str, reader: str) -> None:
    write(f"owner/set/{file}", [{"a": 1}])
    assert found(tmp_path, name) == (reader, {"test": [file]})


def test_files_of_another_split_or_subset_are_left_alone(tmp_path: Path, write: Write) -> None:
    for file in ("sw/test_matched.parquet", "sw/testing.parquet", "en/test.parquet"):
        write(f"owner/set/{file}", [{"a": 1}])
    with pytest.raises(DataError, match=r"expected .*owner/set/sw/test\.parquet"):
        found(tmp_path, "sw")
    write("owner/set/sw/test-1-of-2.parquet", [{"a": 1}])
    write("owner/set/sw/test-0-of-2.parquet", [{"a": 1}])
    assert found(tmp_path, "sw")[1] == {
        "test": ["sw/test-0-of-2.parquet", "sw/test-1-of-2.parquet"]
    }


def test_one_format_has_all_the_splits(tmp_path: Path, write: Write) -> None:
    write("owner/set/sw/test.parquet", [{"a": 1}])
    for split in ("test", "dev"):
        write(f"owner/set/sw/{split}.jsonl", [{"a": 1}])
    assert found(tmp_path, "sw", "test", "dev") == (
        "json",
        {"test": ["sw/test.jsonl"], "dev": ["sw/dev.jsonl"]},
    )


def test_files_that_the_task_names_itself(tmp_path: Path, write: Write) -> None:
    write("owner/set/some/test.csv", [{"a": 1}])
    config = {
        "dataset_path": "owner/set",
        "dataset_kwargs": {"data_files": {"test": "some/test.csv"}, "header": None},
    }
    changes = local_data(config, ["test"], tmp_path / "data")
    assert (changes["dataset_path"], changes["dataset_kwargs"]["header"]) == ("csv", None)
    (file,) = changes["dataset_kwargs"]["data_files"]["test"]
    assert Path(file) == tmp_path / "data/owner/set/some/test.csv"
    config["dataset_path"] = "json"
    config["dataset_kwargs"] = {"data_files": {"test": "hf://datasets/owner/set/more.jsonl"}}
    with pytest.raises(DataError, match=r"expected .*data/owner/set/more\.jsonl"):
        local_data(config, ["test"], tmp_path / "data")


@pytest.mark.parametrize(
    "config",
    [
        {"dataset_path": "../outside", "dataset_name": None},
        {"dataset_path": "owner/set", "dataset_name": "../../../outside"},
        {"dataset_path": "owner/set", "dataset_name": "/etc"},
        {"dataset_path": "owner/set", "dataset_kwargs": {"data_files": {"test": "../../x.csv"}}},
        {"dataset_path": "owner/set", "dataset_kwargs": {"data_files": {"test": "/x.csv"}}},
    ],
)
def test_nothing_leads_out_of_the_folder(
    tmp_path: Path, write: Write, config: dict[str, Any]
) -> None:
    write("../outside/test.jsonl", [{"a": 1}])
    write("../x.csv", [{"a": 1}])
    with pytest.raises(DataError, match="leads out of"):
        local_data(config, ["test"], tmp_path / "data")


@pytest.mark.parametrize(
    "config",
    [
        {"dataset_path": None},
        {"dataset_path": "owner/set", "custom_dataset": "some.function"},
        {"dataset_path": "/some/folder"},
        {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "my/test.jsonl"}}},
    ],
)
def test_data_that_comes_from_no_hub(config: dict[str, Any]) -> None:
    assert not from_hub(config)
    assert from_hub({"dataset_path": "owner/set"})


def test_belebele_as_lm_eval_defines_it(tmp_path: Path, write: Write, belebele: Rows) -> None:
    write("facebook/belebele/eng_Latn/test-00000-of-00001.parquet", belebele)
    task = build("belebele_eng_Latn", wanted(shots=1), data_dir=tmp_path / "data")
    assert [doc["flores_passage"] for doc in task.eval_docs] == [
        row["flores_passage"] for row in belebele
    ]
    prompt = task.fewshot_context(task.eval_docs[0], task.config.num_fewshot)
    example, _, question = prompt.partition("\n\n")
    assert example.endswith("Answer: B")  # the second item: an item is not its own example
    assert "on mat 1." in example
    assert question.startswith("P: The cat sat on mat 0.\nQ: Who sat?\nA: the 1. cat\n")

    results = evaluate(DummyLM(), {"belebele_eng_Latn": task}, bootstrap_iters=0)
    assert results["n-samples"]["belebele_eng_Latn"]["original"] == len(belebele)
    assert 0 <= results["results"]["belebele_eng_Latn"]["acc,none"] <= 1


def test_another_split_and_no_example_of_itself(tmp_path: Path, write: Write) -> None:
    rows = [{**XCOPA, "premise": f"It fell {n} times.", "question": "effect", "label": n % 2}
            for n in range(3)]  # fmt: skip
    write("cambridgeltl/xcopa/id/validation.jsonl", rows)
    task = build("xcopa_id", wanted(shots=2, split="validation"), data_dir=tmp_path / "data")
    assert len(task.eval_docs) == 3
    for doc in task.eval_docs:
        text = task.doc_to_text(doc)
        assert task.fewshot_context(doc, 2).count(text) == 1


def test_no_shots_need_no_examples(tmp_path: Path, write: Write) -> None:
    write("cambridgeltl/xcopa/id/test.jsonl", [{**XCOPA, "question": "cause", "label": 0}])
    task = build("xcopa_id", wanted(), data_dir=tmp_path / "data")
    assert (len(task.eval_docs), task.config.num_fewshot) == (1, 0)
    with pytest.raises(DataError, match=r"^xcopa_id: .*id/test\.parquet and .*id/validation"):
        build("xcopa_id", wanted(shots=1), data_dir=tmp_path / "data")


def test_a_copy_of_the_hubs_repository(tmp_path: Path, write: Write, belebele: Rows) -> None:
    write("facebook/belebele/data/fra_Latn.jsonl", belebele)
    (tmp_path / "data/facebook/belebele/README.md").write_text(CARD)
    task = build("belebele_fra_Latn", wanted(shots=0), data_dir=tmp_path / "data")
    assert len(task.eval_docs) == len(belebele)
    with pytest.raises(DataError, match=r"belebele_deu_Latn: .*data/deu_Latn\.jsonl' \("):
        build("belebele_deu_Latn", wanted(), data_dir=tmp_path / "data")
    with pytest.raises(DataError, match=r"belebele_spa_Latn: .*spa_Latn/test\.parquet .*README"):
        build("belebele_spa_Latn", wanted(), data_dir=tmp_path / "data")


def test_what_a_task_does_not_have(tmp_path: Path, write: Write, belebele: Rows) -> None:
    write("facebook/belebele/eng_Latn/test.parquet", belebele)
    data_dir = tmp_path / "data"
    with pytest.raises(ConfigError, match=r"no metric 'accuracy'.*'acc'.* It has: acc, acc_norm"):
        build("belebele_eng_Latn", wanted(metrics=["accuracy"]), data_dir=data_dir)
    with pytest.raises(DataError, match=r"expected .*eng_Latn/dev\.parquet"):
        build("belebele_eng_Latn", wanted(split="dev", shots=0), data_dir=data_dir)
    with pytest.raises(ConfigError, match=r"evaluation\.data_dir: there is no folder"):
        build("belebele_eng_Latn", wanted(), data_dir=tmp_path / "nowhere")


def test_a_missing_split_of_local_data_is_said(tmp_path: Path, write: Write) -> None:
    write("set/test.jsonl", [{"text": "a"}])
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text(
        f"task: mine\ndataset_path: {tmp_path}/data/set\ntest_split: test\n"
        "doc_to_text: '{{text}}'\ndoc_to_target: '{{text}}'\noutput_type: generate_until\n"
    )
    folder = (str(tmp_path / "tasks"),)
    assert len(build("mine", wanted(), include_path=folder).eval_docs) == 1
    with pytest.raises(DataError, match=r"mine: the data set .* has no split 'dev'"):
        build("mine", wanted(split="dev"), include_path=folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{broken\n{]]", "JSON parse error"),
        ("", "has no documents"),
        ('{"premis": "x"}\n', "'premise' is undefined"),
    ],
)
def test_a_file_that_is_no_good_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "facebook" / "xnli" / "sw" / "validation.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        build("xnli_sw", wanted(shots=0, split="validation"), data_dir=tmp_path)
    assert f"facebook/xnli in {file}" in str(caught.value)
