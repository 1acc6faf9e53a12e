from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compared_runs import items, row, run, write_run

from marco.errors import DataError
from marco.evaluation.compare.configs import ABSENT, by_seed, differing, flat
from marco.evaluation.compare.families import families, stem
from marco.evaluation.compare.ledgers import Count, ledger_differences
from marco.evaluation.compare.losses import common_losses
from marco.evaluation.compare.names import with_common_names
from marco.evaluation.compare.read import read
from marco.evaluation.compare.run import Run
from marco.evaluation.items import Item, content_id

CONFIG = {"seed": 1, "optimizer": {"lr": 0.1, "betas": [0.9, 0.95]}, "name": "x"}


def test_a_run_folder_is_read_whole(tmp_path: Path) -> None:
    values = {"eng": [1.0, 0.0], "swh": [0.0, 0.0]}
    folder = write_run(tmp_path / "r", values, CONFIG, {100: 5.0, 200: 4.0}, {"eng": 500})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "tok')  # killed
    found = read(folder)
    assert found.name == f"{tmp_path.name}/r"
    assert found.tokens == 1000
    assert found.losses == [(100, 5.0), (200, 4.0)]
    assert found.config["optimizer.lr"] == 0.1
    assert found.ledger["eng"]["tokens"] == 500
    assert {key: len(found.keyed[key]) for key in found.keyed} == {
        ("quiz", "eng"): 2,
        ("quiz", "swh"): 2,
    }
    place = folder / "evaluations" / "step-00000010"
    assert read(place).measured == found.measured
    assert read(folder, step=10).rows == found.rows
    with pytest.raises(DataError, match="no evaluation of step 3: it has 10"):
        read(folder, step=3)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="neither a run's folder"):
        read(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: [")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path)


def test_families_of_items() -> None:
    rows = [
        row("eng", [1, 0, 0, 1], task="quiz"),
        row("swh", [1, 1, 1, 0], task="quiz"),
        row("swh", [0, 0, 0, 1], task="cloze"),
        row("eng", [1, 0, 0, 1], task="cloze"),  # as good as the quiz's in English
        row("eng", [1.0], task="mmlu").but(subtask="mmlu_law"),
    ]
    found = families(
        rows,
        [
            *items("eng", [1, 0, 0, 1], task="marco_quiz"),
            *items("swh", [1, 1, 1, 0], task="marco_quiz"),
            *items("eng", [1, 0, 0, 1], task="marco_cloze"),
            *items("swh", [0, 0, 0, 1], task="marco_cloze"),
            Item("mmlu_law", "eng", "0", {"acc": 1.0}),
            Item("unknown_swh", "swh", "0", {"acc": 0.5}),
            Item("quiz", "swh", "0", {"acc": 0.5}),
        ],
    )
    assert found == {
        "marco_quiz_eng": "quiz",
        "marco_quiz_swh": "quiz",
        "marco_cloze_eng": "cloze",
        "marco_cloze_swh": "cloze",
        "mmlu_law": "mmlu",
        "unknown_swh": "unknown",
        "quiz": "quiz",
    }


def test_families_that_are_equally_bad_go_by_their_names() -> None:
    nothing = [0.0] * 4
    names = ("lid", "cloze")
    rows = [row(code, nothing, task=name) for name in names for code in ("eng", "swh")]
    made = [
        i for n in names for code in ("eng", "swh") for i in items(code, nothing, task=f"x_{n}")
    ]
    found = families(rows, made)
    assert {task.rpartition("_")[0]: family for task, family in found.items()} == {
        "x_lid": "lid",
        "x_cloze": "cloze",
    }


@pytest.mark.parametrize(
    ("task", "languages", "expected"),
    [
        ("belebele_swh_Latn", ["swh"], "belebele"),
        ("xnli_sw", ["swh"], "xnli"),
        ("mgsm_direct_sw", ["swh"], "mgsm_direct"),
        ("global_mmlu_full_sw_law", ["swh"], "global_mmlu_full_law"),
        ("marco_translate_eng_swh", ["eng", "swh"], "marco_translate"),
        ("swahili", ["swh"], "swahili"),
        ("xnli_en", ["swh"], "xnli_en"),
    ],
)
def test_a_tasks_name_without_its_language(task: str, languages: list[str], expected: str) -> None:
    assert stem(task, *languages) == expected


def test_documents_of_equal_content_are_told_apart() -> None:
    twice = items("eng", [1, 0])[:1] * 2
    assert [key[2] for key in Run("r", [], twice).keyed["marco_quiz", "eng"]] == [0, 1]


def test_configs_differ_where_they_differ() -> None:
    one = Run("a", [], config=flat(CONFIG))
    other = Run("b", [], config=flat({**CONFIG, "seed": 2, "extra": {"x": None}}))
    assert differing([one, other]) == {"seed": [1, 2], "extra.x": [ABSENT, None]}
    assert differing([one, Run("c", [])]) == {}


def test_runs_that_differ_by_their_seed_alone_are_a_group() -> None:
    def made(seed: int, lr: float, **more: Any) -> Run:
        return Run(
            f"{lr}-{seed}", [], config={"seed": seed, "lr": lr, "logger.name": str(seed), **more}
        )

    runs = [
        made(1, 0.1),
        made(1, 0.2),
        made(2, 0.1),
        made(2, 0.2),
        made(2, 0.1),
        Run("x", []),
        Run("y", []),
    ]
    assert [[run.name for run in group.runs] for group in by_seed(runs)] == [
        ["0.1-1", "0.1-2"],
        ["0.2-1", "0.2-2"],
        ["0.1-2"],
        ["x"],
        ["y"],
    ]
    assert (
        len(
            by_seed(
                [made(1, 0.1, **{"evaluation.seed": 0}), made(2, 0.1, **{"evaluation.seed": 1})]
            )
        )
        == 2
    )


def test_ledgers_differ_by_language() -> None:
    one = Run(
        "a", [], ledger={"eng": {"tokens": 10, "epochs": 1.0}, "swh": {"tokens": 5, "epochs": 2.0}}
    )
    other = Run(
        "b", [], ledger={"eng": {"tokens": 10, "epochs": 1.0}, "tha": {"tokens": 9, "epochs": 3.0}}
    )
    lines = ledger_differences([one, other, Run("c", [])])
    assert [line.language for line in lines] == ["tha", "swh"]
    assert lines[0].counts == [Count(0, 0.0), Count(9, 3.0), None]


def test_losses_are_averaged_over_the_tokens_that_all_saw() -> None:
    one = Run("a", [], losses=[(t, t / 10) for t in range(10, 210, 10)])
    other = Run("b", [], losses=[(t, 1.0) for t in (25, 50, 75, 100)])
    lines = common_losses([one, other, Run("c", [])], parts=2)
    assert [line.tokens for line in lines] == [50, 100]
    assert lines[0].values == [pytest.approx(3.0), 1.0, None]
    assert lines[1].values == [pytest.approx(8.0), 1.0, None]
    assert common_losses([Run("c", [])]) == []


DATE = "2026-01-02T03-04-05.678"


def lm_eval_files(folder: Path, right: dict[str, list[int]], samples: bool = True) -> Path:
    """What ``lm_eval --output_path folder --log_samples`` leaves."""
    folder.mkdir()
    results = {
        task: {
            "alias": task,
            "acc,none": sum(found) / len(found),
            "acc_stderr,none": 0.1,
            "bleu,none": 12.0,
            "bleu_stderr,none": "N/A",
        }
        for task, found in right.items()
    }
    document = {
        "results": results,
        "config": {"model": "hf", "num_fewshot": 5},
        "n-samples": {task: {"original": 900, "effective": len(f)} for task, f in right.items()},
        "model_name": "some/model",
    }
    path = folder / f"results_{DATE}.json"
    path.write_text(json.dumps(document))
    for task, found in right.items() if samples else ():
        lines = [
            {
                "doc_id": i,
                "doc": {"q": f"{task} {i}"},
                "filter": "none",
                "metrics": ["acc", "bleu"],
                "acc": a,
                "bleu": ["x", "y"],
            }
            for i, a in enumerate(found)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"samples_{task}_{DATE}.jsonl").write_text(text)
    return path


def test_lm_evals_files_are_read(tmp_path: Path) -> None:
    path = lm_eval_files(
        tmp_path / "a",
        {"belebele_swh_Latn": [1, 0, 1], "belebele_eng_Latn": [1, 1, 1], "piqa_unknown": [1]},
    )
    for place in (path, path.parent):
        found = read(place)
        assert found.name == "some/model"
        assert found.config == {"lm_eval.model": "hf", "lm_eval.num_fewshot": 5}
        assert found.measured["belebele", "acc", "swh"].value == pytest.approx(2 / 3)
        assert found.measured["belebele", "acc", "swh"].stderr == 0.1
        assert found.measured["belebele", "bleu", "eng"].stderr is None
        assert set(found.keyed) == {("belebele", "swh"), ("belebele", "eng")}
    # the same document has the same key as in an evaluation of marco's
    key = next(iter(found.keyed["belebele", "swh"]))
    assert key == ("belebele_swh_Latn", content_id({"q": "belebele_swh_Latn 0"}), 0)
    samples = read(path.with_name(f"samples_belebele_swh_Latn_{DATE}.jsonl"))
    assert samples.measured["belebele", "acc", "swh"].value == pytest.approx(2 / 3)
    assert list(samples.keyed) == [("belebele", "swh")]


def test_a_tasks_yaml_says_its_language(tmp_path: Path) -> None:
    path = lm_eval_files(tmp_path / "a", {"riddles_first": [1, 0], "riddles_swh": [1, 1]})
    document = json.loads(path.read_text())
    document["configs"] = {"riddles_swh": {"metadata": {"language": "swh"}}}
    path.write_text(json.dumps(document))
    assert set(read(path).keyed) == {("riddles", "swh")}


def test_lm_evals_tasks_must_have_a_language(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="of none of its tasks the language is known"):
        read(lm_eval_files(tmp_path / "a", {"some_riddles": [1]}))


def test_directions_into_one_language_stay_apart(tmp_path: Path) -> None:
    path = lm_eval_files(tmp_path / "a", {"wmt16-de-en": [1, 0], "wmt16-ro-en": [1, 1]})
    found = read(path)
    assert {task for task, _ in found.keyed} == {"wmt16-de-en", "wmt16-ro-en"}


def test_a_runs_items_keep_their_key_on_disk(tmp_path: Path) -> None:
    values = {"eng": [1.0, 0.0]}
    folder = write_run(tmp_path / "r", values, CONFIG)
    assert read(folder).keyed.keys() == run(values).keyed.keys()
    assert read(folder).keyed["quiz", "eng"].keys() == run(values).keyed["quiz", "eng"].keys()


def test_lm_evals_own_results_get_the_names_that_marcos_have() -> None:
    values = [1.0, 0.0]
    mine = [
        replace(item, family=family)
        for stem, family in (("marco_cloze", "cloze"), ("law", "mmlu"), ("art", "mmlu"))
        for item in items("swh", values, task=stem)
    ]
    marco = Run("marco", [row("swh", values, task="cloze"), row("swh", values, task="mmlu")], mine)
    stems = ("marco_cloze", "law", "art", "other")
    theirs = Run(
        "lm-eval",
        [row("swh", values, task=stem) for stem in stems],
        [item for stem in stems for item in items("swh", values, task=stem)],
        families={f"{stem}_swh": stem for stem in stems},
    )
    same, renamed = with_common_names([marco, theirs])
    assert same is marco
    assert [each.task for each in renamed.rows] == ["cloze", "law", "art", "other"]
    assert renamed.keyed["cloze", "swh"].keys() == marco.keyed["cloze", "swh"].keys()
