"""The embedded tasks by lm-eval's own API: who knows all gets all, who guesses gets chance."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from marco.evaluation.suite.build import build
from marco.evaluation.suite.index import OWN_TASKS, configs_of
from marco.evaluation.suite.languages import task_languages
from marco.evaluation.suite.task_set import TaskSet
from marco.evaluation.suite.tasks import resolve
from marco.evaluation.tasks.embedded import write
from marco.languages import MARCO_LANGUAGES, all_languages, get

Evaluate = Callable[..., dict[str, Any]]

SOME = ("swh", "tha", "arb")


def names(family: str) -> list[str]:
    """Return tasks of a family in a few languages of different scripts."""
    if family in write.ONE:
        return [f"marco_embedded_{family}_{code}" for code in SOME]
    return [
        f"marco_embedded_{family}_{'_'.join(p)}" for c in SOME for p in (("eng", c), (c, "eng"))
    ]


@pytest.mark.parametrize(
    ("family", "metric", "chance"),
    [
        ("cloze", "acc_bytes", 0.25),
        ("lexicon", "acc_bytes", 0.25),
        ("lid", "acc_bytes", 0.25),
        ("translate", "chrf++", 0),
    ],
)
def test_all_and_chance(
    evaluate: Evaluate, cheat: LM, guess: LM, family: str, metric: str, chance: float
) -> None:
    tasks = names(family)
    all_ = evaluate(cheat, tasks)
    assert all_["versions"] == dict.fromkeys(tasks, 1.0)
    best = 100 if metric == "chrf++" else 1
    assert [all_["results"][task][f"{metric},none"] for task in tasks] == [best] * len(tasks)
    guessed = evaluate(guess, tasks)
    documents = sum(guessed["n-samples"][task]["effective"] for task in tasks)
    mean = statistics.fmean(guessed["results"][task][f"{metric},none"] for task in tasks)
    # Three standard errors of that many documents; of chrF++, what no word in common gives.
    assert abs(mean - chance) <= 3 * (chance * (1 - chance) / documents) ** 0.5


def test_prompts_by_hand(evaluate: Evaluate, cheat: LM) -> None:
    tasks = [
        "marco_embedded_translate_eng_swh",
        "marco_embedded_lexicon_deu_eng",
        "marco_embedded_lid_swh",
        "marco_embedded_cloze_eng",
    ]
    samples = evaluate(cheat, tasks)["samples"]
    translate = {s["doc"]["id"]: s for s in samples[tasks[0]]}
    assert translate["26.2"]["arguments"][0][0] == (
        "English text: Everyone has the right to a nationality.\n"
        "Swahili text: Kila mtu ana haki ya utaifa.\n\n"
        "English text: Parents have a prior right to choose the kind of education that shall be "
        "given to their children.\n"
        "Swahili text:"
    )
    assert translate["26.2"]["target"] == (
        "Ni haki ya wazazi kuchagua aina ya elimu ya kufunzwa watoto wao."
    )
    for sample in samples[tasks[1]]:
        assert re.fullmatch(r"German: \S.*\nEnglish:", sample["arguments"][0][0])
        assert all(argument[1].startswith(" ") for argument in sample["arguments"])
    lid = {s["doc"]["id"]: s for s in samples[tasks[2]]}["swh/28.0"]
    assert lid["arguments"][0][0] == (
        "Ni haki kila mtu alindwe na taratibu au kanuni za jamii na zinazohusu mataifa mbalimbali "
        "ambazo ndani yake uhuru na haki zilizoelezwa katika Taarifa hii zinaweza kuhifadhiwa "
        "barabara.\nLanguage:"
    )
    assert lid["arguments"][lid["target"]][1] == " Swahili"
    cloze = {s["doc"]["id"]: s for s in samples[tasks[3]]}["eng/28.1"]
    assert "".join(cloze["arguments"][cloze["target"]]) == (
        "Everyone is entitled to a social and international order in which the "
        "rights and freedoms set forth in this Declaration can be fully realized."
    )


def test_the_same_documents_every_time(manager: TaskManager) -> None:
    for name in ("translate_tha_eng", "lexicon_eng_tha", "lid_tha", "cloze_tha"):
        one, two = (manager.load([f"marco_embedded_{name}"])["tasks"] for _ in range(2))
        docs = [list(next(iter(found.values())).eval_docs) for found in (one, two)]
        assert docs[0] == docs[1]
        assert 7 <= len(docs[0]) <= 32


def test_through_the_suite() -> None:
    task_set = TaskSet(["marco_embedded_translate"], shots=2, split="test")
    leaves = resolve("translate", task_set)
    assert "marco_embedded_translate_swh_eng" in leaves
    task = build("marco_embedded_translate_swh_eng", task_set)
    prompt = task.fewshot_context(task.eval_docs[0], num_fewshot=2)
    assert prompt.count("Swahili text: ") == 3
    for leaf in leaves:
        said = task_languages(leaf, configs_of(leaf))
        assert leaf == f"marco_embedded_translate_{said.source}_{said.target}"
        assert "eng" in (said.source, said.target)


def test_the_files_are_what_the_script_writes() -> None:
    folder = OWN_TASKS / "embedded"
    there = {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.rglob("*.yaml")
    }
    assert there == write.own_files()


def test_every_language_with_a_locale_is_there() -> None:
    tasks = set(write.everything())
    named = {language.code for language in all_languages() if language.cldr}
    declared = {language.code for language in all_languages() if language.cldr and language.udhr}
    for family in write.ONE:
        assert {t.removeprefix(f"{family}_") for t in tasks if t.startswith(family)} == declared
    for family, codes in (("translate", declared), ("lexicon", named)):
        assert {task.split("_")[1] for task in tasks if task.startswith(family)} == codes
    for code in (*MARCO_LANGUAGES, "swh", "yor", "hau", "amh", "khm"):
        pairs = [] if code == "eng" else [("eng", code), (code, "eng")]
        assert {f"{family}_{a}_{b}" for family in write.TWO for a, b in pairs} <= tasks


def test_any_direction_is_one_file(
    tmp_path: Path, cheat: LM, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    assert write.main(["translate_sw_yor", "lexicon_Swahili_yor", "--to", str(folder)]) == 0
    assert capsys.readouterr().out == f"2 tasks in {folder}\n"
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    (task,) = manager.load(["marco_embedded_translate_swh_yor"])["tasks"].values()
    doc = next(doc for doc in task.eval_docs if doc["id"] == "26.2")
    assert task.doc_to_text(doc) == (
        "Swahili text: Ni haki ya wazazi kuchagua aina ya elimu ya kufunzwa watoto wao.\n"
        "Yoruba text:"
    )
    found = resolve("mine", TaskSet(["marco_embedded_translate"]), (str(folder),))
    assert "marco_embedded_translate_swh_yor" in found
    assert "marco_embedded_translate_swh_eng" in found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("translat_swh_yor", "Did you mean 'translate'"),
        ("translate_swh", "translate takes two languages"),
        ("lid_swh_yor", "lid takes one language"),
        ("cloze_swahilli", "Did you mean 'Swahili'"),
    ],
)
def test_a_wrong_task_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str, message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        write.main([wrong, "--to", str(tmp_path)])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_task_says_its_version_and_languages() -> None:
    for task in ("cloze_swh", "translate_eng_swh"):
        family, _, languages = task.partition("_")
        path = OWN_TASKS / "embedded" / "generated" / family / f"{languages}.yaml"
        metadata = yaml.safe_load(path.read_text())["metadata"]
        assert metadata.pop("version") == 1.0
        assert all(get(code).code == code for code in metadata.values())
        json.dumps(metadata)
