"""Options are found in real prompts of lm-eval's families, and in no prompt without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

from marco.evaluation.contamination.choices import choice_item
from marco.evaluation.contamination.tasks import choice_items
from marco.evaluation.harness.prepared import PreparedTask, requests_of

TEXTS = ["a red house", "a dog", "the sea", "nobody"]
LETTERS = ["A", "B", "C", "D"]
ROWS: dict[str, dict[str, Any]] = {
    "belebele/belebele_swh_Latn.yaml": {
        "flores_passage": "A dog saw a red house.",
        "question": "Who saw the sea?",
        **{f"mc_answer{place + 1}": text for place, text in enumerate(TEXTS)},
        "correct_answer_num": "2",
    },
    "mmlu/default/mmlu_anatomy.yaml": {
        "question": "Who saw the sea?",
        "choices": TEXTS,
        "answer": 1,
    },
    "ceval/ceval-valid_law.yaml": {
        "question": "谁？",
        **dict(zip(LETTERS, TEXTS, strict=True)),
        "answer": "B",
    },
    "cmmlu/cmmlu_anatomy.yaml": {
        "Question": "谁？",
        **dict(zip(LETTERS, TEXTS, strict=True)),
        "Answer": "B",
    },
    "global_mmlu/full/sw/global_mmlu_full_sw_anatomy.yaml": {
        "question": "Who?",
        **{f"option_{letter.lower()}": t for letter, t in zip(LETTERS, TEXTS, strict=True)},
        "answer": "B",
        "subject": "anatomy",
    },
    "medmcqa/medmcqa.yaml": {
        "question": "Who?",
        **{f"op{letter.lower()}": t for letter, t in zip(LETTERS, TEXTS, strict=True)},
        "cop": 1,
    },
    "agieval/aqua-rat.yaml": {
        "query": "Q: Who saw the sea? Answer Choices: "
        + " ".join(f"({letter}){text}" for letter, text in zip(LETTERS, TEXTS, strict=True))
        + "\nA: Among A through D, the answer is",
        "choices": [f"({letter}){text}" for letter, text in zip(LETTERS, TEXTS, strict=True)],
        "gold": [1],
    },
    "arc/arc_easy.yaml": {
        "question": "Who?",
        "choices": {"text": TEXTS, "label": LETTERS},
        "answerKey": "B",
        "id": "1",
    },
}


def task_of(name: str, folder: Path) -> ConfigurableTask:
    """lm-eval's own task, on one local row."""
    file = folder / "rows.jsonl"
    file.write_text(json.dumps(ROWS[name]) + "\n", encoding="utf-8")
    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / name)
    for key in ("dataset_name", "custom_dataset", "fewshot_split", "training_split", "group"):
        config.pop(key, None)
    for key in ("test_split", "validation_split"):
        config[key] = None
    config |= {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
    }
    return ConfigurableTask(config=config)


def prepared(task: ConfigurableTask) -> PreparedTask:
    task.set_fewshot_seed(seed=1)
    return PreparedTask("x", "x", "swh", None, None, task, requests_of(task, None))


@pytest.mark.parametrize("name", [name for name in ROWS if name != "arc/arc_easy.yaml"])
def test_lm_evals_own_prompts(name: str, tmp_path: Path) -> None:
    task = task_of(name, tmp_path)
    (item,) = choice_items(prepared(task))
    assert item.options == tuple(TEXTS)
    prompt = task.doc_to_text(ROWS[name])
    texts = item.texts(24)
    assert prompt.startswith(item.context + texts[0])
    assert len(texts) == 24
    assert len({len(text) for text in texts}) == 1
    assert "a red house" not in item.context.replace(ROWS[name].get("flores_passage", "\0"), "")


def test_a_prompt_without_options_gives_no_item(tmp_path: Path) -> None:
    assert choice_items(prepared(task_of("arc/arc_easy.yaml", tmp_path))) == []


def test_digits_that_are_texts() -> None:
    row = {"choices": {"label": LETTERS, "text": ["7", "3", "9", "5"]}}
    prompt = "What?\nA. 7\nB. 3\nC. 9\nD. 5\nAnswer:"
    item = choice_item("x", "eng", prompt, LETTERS, row)
    assert item is not None
    assert item.options == ("7", "3", "9", "5")
    assert (item.context, item.labels[0]) == ("What?", "\nA. ")


def test_options_that_are_words_of_the_question() -> None:
    prompt = "Is it a dog or a cat?\nA. a dog\nB. a cat\nAnswer:"
    item = choice_item("x", "eng", prompt, ["a dog", "a cat"], {})
    assert item is not None
    assert item.context == "Is it a dog or a cat?"
    assert item.labels == ("\nA. ", "\nB. ")


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("Is it a dog or, as many people had been saying, a cat?", ["a dog", "a cat"]),
        ("A. a cat\nB. a dog", ["a dog", "a cat"]),
        ("A. \nB. a dog", ["", "a dog"]),
        ("Is it?", ["yes", "no"]),
        ("A. one", ["one"]),
    ],
)
def test_no_options_there(prompt: str, choices: list[str]) -> None:
    assert choice_item("x", "eng", prompt, choices, {}) is None
