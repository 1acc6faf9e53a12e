"""The generated tasks are what the script writes, and lm-eval itself runs them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.dummy import DummyLM
from lm_eval.tasks import TaskManager

from marco.evaluation.suite import generate
from marco.evaluation.suite.build import build
from marco.evaluation.suite.index import configs_of
from marco.evaluation.suite.languages import task_languages
from marco.evaluation.suite.task_set import TaskSet
from marco.evaluation.suite.tasks import resolve
from marco.languages import get

Rows = list[dict[str, Any]]
Write = Callable[[str, Rows], None]

ENGLISH = ["The cat sat on the mat.", "Rain fell all day long.", "We walked home at night."]
THAI = ["แมวนั่งอยู่บนเสื่อ", "ฝนตกตลอดทั้งวัน", "เราเดินกลับบ้านตอนกลางคืน"]


class Parrot(DummyLM):
    """Answers every request with the same sentence, and keeps the prompts."""

    tokenizer = None  # lm-eval's dummy has one from the hub

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer = answer
        self.prompts: list[str] = []

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        self.prompts = [request.args[0] for request in requests]
        return [self.answer for _ in requests]


@pytest.fixture
def flores(write: Write) -> None:
    for code, sentences in (("eng_Latn", ENGLISH), ("tha_Thai", THAI)):
        for split in ("dev", "devtest"):
            rows = [{"id": i + 1, "sentence": s} for i, s in enumerate(sentences)]
            write(f"facebook/flores/{code}/{split}-00000-of-00001.parquet", rows)


def test_the_files_are_what_the_script_writes() -> None:
    folders = ("flores", "xstorycloze")
    there = {
        str(path.relative_to(generate.TASKS)): path.read_text(encoding="utf-8")
        for folder in folders
        for path in (generate.TASKS / folder).glob("*.yaml")
    }
    assert there == generate.own_files()
    assert len(there) == 2 * 28 + 42 + 11


def test_lm_eval_itself_runs_one(
    flores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "data")  # datasets takes facebook/flores for this folder
    manager = TaskManager(include_path=str(generate.TASKS), include_defaults=False)
    model = Parrot(THAI[0])
    name = "marco_flores_eng_tha"
    found = simple_evaluate(model, tasks=[name], task_manager=manager, bootstrap_iters=0)
    values = found["results"][name]
    assert values["bleu,none"] == pytest.approx(
        sacrebleu.corpus_bleu([THAI[0]] * 3, [THAI], tokenize="char").score
    )
    assert values["chrf++,none"] == pytest.approx(
        sacrebleu.corpus_chrf([THAI[0]] * 3, [THAI], word_order=2).score
    )
    example = f"English phrase: {ENGLISH[0]}\nThai phrase: {THAI[0]}\n\n"
    assert model.prompts[1] == f"{example}English phrase: {ENGLISH[1]}\nThai phrase:"


def test_marco_builds_the_same_from_local_data(flores: None, tmp_path: Path) -> None:
    task = build("marco_flores_tha_eng", TaskSet(["any"]), data_dir=tmp_path / "data")
    assert [(d["source"], d["target"]) for d in task.eval_docs] == list(
        zip(THAI, ENGLISH, strict=True)
    )
    assert task.config.num_fewshot == 1


def test_a_sentence_that_one_language_lacks_is_said(
    flores: None, write: Write, tmp_path: Path
) -> None:
    write("facebook/flores/tha_Thai/devtest-00000-of-00001.parquet", [{"id": 1, "sentence": "x"}])
    with pytest.raises(Exception, match=r"2 of 3 sentences are not once in each .* with id 2"):
        build("marco_flores_tha_eng", TaskSet(["any"]), data_dir=tmp_path / "data")


def test_flores_plus_has_another_column(write: Write, tmp_path: Path) -> None:
    for code, sentences in (("eng_Latn", ENGLISH), ("tha_Thai", THAI)):
        rows = [{"id": i, "text": s} for i, s in enumerate(sentences)]
        write(f"owner/plus/devtest/{code}.jsonl", rows)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.yaml").write_text(
        f"include: {generate.TASKS / 'flores' / '_flores'}\ntask: mine\n"
        "dataset_path: owner/plus\nvalidation_split: null\nfewshot_split: null\ndataset_kwargs:\n"
        "  data_files: {devtest: [devtest/eng_Latn.jsonl, devtest/tha_Thai.jsonl]}\n"
        "doc_to_text: '{{source}}'\n"
    )
    folder = (str(tmp_path / "mine"),)
    task = build("mine", TaskSet(["x"]), data_dir=tmp_path / "data", include_path=folder)
    assert [doc["target"] for doc in task.eval_docs] == THAI


def test_spbleu_is_measured_where_its_model_is_present(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scored = configs_of("marco_flores_eng_fra")["process_results"]
    module = load_module(Path(scored).parent / "translation.py")
    monkeypatch.setattr(module, "SACREBLEU_DIR", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        without = module.scored({"target": "un chat"}, ["un chien"])
        module.scored({"target": "un chat"}, ["un chien"])
    assert without == {"bleu": ("un chat", "un chien"), "chrf++": ("un chat", "un chien")}
    assert caplog.text.count("spBLEU is left out") == 1
    model = tmp_path / "models" / "flores200sacrebleuspm"
    model.parent.mkdir()
    model.touch()
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    module._has_spbleu.cache_clear()
    assert list(module.scored({"target": "a"}, ["b"])) == ["bleu", "chrf++", "spbleu"]


def load_module(path: Path) -> Any:
    from lm_eval.tasks._yaml_loader import _load_module_with_cache

    module = _load_module_with_cache(path)
    module._has_spbleu.cache_clear()
    return module


def test_bleu_into_chinese_is_over_characters() -> None:
    module = load_module(generate.TASKS / "flores" / "translation.py")
    pairs = [("我喜欢吃苹果。", "我喜欢吃香蕉。")]
    expected = sacrebleu.corpus_bleu(["我喜欢吃香蕉。"], [["我喜欢吃苹果。"]], tokenize="zh").score
    assert module.bleu_zh(pairs) == pytest.approx(expected)
    assert expected > 10
    shared = configs_of("marco_flores_eng_cmn")["metric_list"][0]["aggregation"]
    assert shared.endswith("translation.bleu_zh")


@pytest.mark.parametrize("subset", generate.XSTORYCLOZE)
def test_xstorycloze_has_lm_evals_subsets(subset: str) -> None:
    ours = configs_of(f"marco_xstorycloze_{get(subset).code}")
    theirs = configs_of(f"xstorycloze_{subset}")
    assert ours["dataset_path"] == theirs["dataset_path"]
    files = {split: f"{theirs['dataset_name']}/{split}/0000.parquet" for split in ("train", "eval")}
    assert ours["dataset_kwargs"]["data_files"] == files


def test_xstorycloze_asks_what_lm_eval_asks(write: Write, tmp_path: Path) -> None:
    story = {f"input_sentence_{i}": f"Sentence {i}." for i in range(1, 5)}
    story |= {"sentence_quiz1": "It ended.", "sentence_quiz2": "It began."}
    for split in ("train", "eval"):
        rows = [{**story, "story_id": f"{split}{i}", "answer_right_ending": i} for i in (1, 2)]
        write(f"juletxara/xstory_cloze/ar/{split}/0000.parquet", rows)
    asked = []
    for name in ("marco_xstorycloze_arb", "xstorycloze_ar"):
        task = build(name, TaskSet(["x"], shots=1), data_dir=tmp_path / "data")
        task.build_all_requests(limit=None, rank=0, world_size=1)
        asked.append([(request.doc_id, request.arguments) for request in task.instances])
        assert [task.doc_to_target(doc) for doc in task.eval_docs] == [0, 1]
    assert asked[0] == asked[1]
    assert len(asked[0]) == 4


def test_directions_of_other_languages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    generate.main(["swh", "yor", "ben_Latn", "--to", str(folder), "--tag", "mine"])
    assert capsys.readouterr().out == f"6 tasks in {folder}\n"
    found = resolve("some", TaskSet(["mine"]), (str(folder),))
    assert "marco_flores_yor_ben_Latn" in found
    config = configs_of("marco_flores_yor_ben_Latn", (str(folder),))
    assert config["dataset_kwargs"]["data_files"]["dev"] == [
        "yor_Latn/dev-00000-of-00001.parquet",
        "ben_Latn/dev-00000-of-00001.parquet",
    ]
    assert config["doc_to_text"] == "Yoruba phrase: {{source}}\nBengali phrase:"
    assert task_languages("any", config).script == "Latn"


def test_a_language_may_be_written_in_any_way(tmp_path: Path) -> None:
    files = generate.users_files(["sw", "zho_Hans", "zho_Hant", "Swahili"], "mine", tmp_path)
    assert sorted(files) == sorted(
        f"flores_{a}_{b}.yaml" for a, b in permutations(["swh", "cmn", "cmn_Hant"], 2)
    )
    into = files["flores_swh_cmn_Hant.yaml"]
    assert "include: " in into
    assert "/_flores_zh\n" in into
    assert "zho_Hant/devtest-00000-of-00001.parquet" in into


@pytest.mark.parametrize(
    ("given", "message"), [(["swh"], "at least two"), (["swh", "yorr"], "Unknown .*'yor'")]
)
def test_what_cannot_be_generated(
    given: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        generate.main([*given, "--to", str(tmp_path)])
    assert re.search(message, capsys.readouterr().err)
