"""Every task that can be chosen has a language, and the right one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

import marco
from marco.errors import ConfigError
from marco.evaluation.suite.index import LEAVES, configs_of, lm_eval_index
from marco.evaluation.suite.languages import TaskLanguages, task_languages
from marco.evaluation.suite.task_set import TaskSet
from marco.evaluation.suite.tasks import resolve
from marco.languages import all_languages, get

CONFIGS = Path(marco.__file__).parent.parent / "conf" / "evaluation"

FAMILIES = [
    *("afri*_prompt_?", "afrixnli_*", "agieval_*", "arc_*", "belebele_*", "ceval-valid_*"),
    *("cmmlu_*", "flores_*", "global_mmlu_*", "global_piqa_*", "hellaswag_??"),
    *("include_base_44_*", "injongointent_*", "iwslt2017-*", "m_mmlu_*", "mafand_*", "masakha*"),
    *("mgsm_*", "mmlu_*", "mmmlu_??_??_*", "naijarc_*", "nollysenti_*", "ntrex_*"),
    *("openai_mmlu_*", "paws_*", "salt_*", "sib_*", "truthfulqa_??", "tydiqa_*", "uhura-*"),
    *("wmt1*", "xcopa_*", "xlsum_*", "xnli_*", "xquad_*", "xstorycloze_*", "xwinograd_*"),
    *("*_bench_flores_*", "arc_challenge_mt_*", "mmlu_prox_*", "lambada_openai_mt_*"),
]


def unlabelled(config: Path) -> Iterator[str]:
    """Yield the tasks of a config of evaluations that have no language."""
    tasks = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("tasks") or {}
    for name, entry in tasks.items():
        task_set = TaskSet(**entry)
        for leaf in resolve(str(name), task_set):
            own = leaf.startswith("marco_")
            found = task_languages(leaf, configs_of(leaf) if own else None).language
            if (task_set.language or found) is None:
                yield leaf


def test_every_selectable_task_has_a_language() -> None:
    configs = sorted(CONFIGS.rglob("*.yaml"))
    assert configs
    assert {str(config): list(unlabelled(config)) for config in configs} == {
        str(config): [] for config in configs
    }


def test_a_task_without_one_is_found(tmp_path: Path) -> None:
    config = tmp_path / "some.yaml"
    config.write_text("tasks: {swiss: {names: [swde, xcopa_id]}}")
    assert list(unlabelled(config)) == ["swde"]
    config.write_text("tasks: {swiss: {names: [swde], language: eng}}")
    assert list(unlabelled(config)) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_families_of_lm_eval(family: str) -> None:
    leaves = [
        name
        for name, entry in lm_eval_index().items()
        if entry.kind in LEAVES and fnmatch(name, family)
    ]
    assert leaves
    known = {language.code for language in all_languages()}
    for leaf in leaves:
        found = task_languages(leaf)
        assert found.language in known, leaf
        assert {found.source, found.target} <= known | {None}
        assert (found.source is None) == (found.target is None)


def test_the_language_is_that_of_the_data_set() -> None:
    """lm-eval's subset of a data set often is a language code: it must be the same language."""
    checked = 0
    for family in ("belebele", "xcopa", "xnli", "xstorycloze", "pawsx", "afrimmlu-irokobench"):
        for leaf in resolve("some", TaskSet([family])):
            subset = configs_of(leaf)["dataset_name"]
            assert task_languages(leaf).language == get(subset.partition("_")[0]).code, leaf
            checked += 1
    assert checked > 240


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ("belebele_zho_Hant", TaskLanguages("cmn", "Hant")),
        ("belebele_ben_Latn", TaskLanguages("ben", "Latn")),
        ("belebele_swh_Latn", TaskLanguages("swh", "Latn")),
        ("belebele_swa_prompt_1", TaskLanguages("swh", "Latn")),
        ("xwinograd_jp", TaskLanguages("jpn", "Jpan")),
        ("xcopa_et", TaskLanguages("ekk", "Latn")),
        ("global_mmlu_full_sw_law", TaskLanguages("swh", "Latn")),
        ("mmmlu_es_la_virology", TaskLanguages("spa", "Latn")),
        ("mmlu_virology", TaskLanguages("eng", "Latn")),
        ("mmlu_de_llama_virology", TaskLanguages("deu", "Latn")),
        ("mmlu_cot_llama_virology", TaskLanguages("eng", "Latn")),
        ("agieval_gaokao_english", TaskLanguages("eng", "Latn")),
        ("agieval_gaokao_history", TaskLanguages("cmn", "Hans")),
        ("agieval_logiqa_zh", TaskLanguages("cmn", "Hans")),
        ("tmmluplus_culinary_skills", TaskLanguages("cmn", "Hant")),
        ("arc_challenge", TaskLanguages("eng", "Latn")),
        ("arc_vi", TaskLanguages("vie", "Latn")),
        ("include_base_44_north_macedonian_stem", TaskLanguages("mkd", "Cyrl")),
        ("include_base_44_greek_few_shot_en_stem", TaskLanguages("ell", "Grek")),
        ("global_piqa_parallel_cloze_mni_mtei", TaskLanguages("mni", "Mtei")),
        ("global_piqa_nonparallel_cloze_apc_arab_leba", TaskLanguages("apc", "Arab")),
        ("afrimmlu_translate_zul_prompt_1", TaskLanguages("eng", "Latn")),
        ("xlsum_kirundi_prompt_1", TaskLanguages("run", "Latn")),
        ("wmt16-de-en", TaskLanguages("eng", "Latn", "deu", "eng")),
        ("flores_eng_Latn-taq_Tfng_prompt_2", TaskLanguages("taq", "Tfng", "eng", "taq")),
        ("mafand_fr-wol_prompt_1", TaskLanguages("wol", "Latn", "fra", "wol")),
        ("catalan_bench_flores_ca-eu", TaskLanguages("eus", "Latn", "cat", "eus")),
        ("phrases_es-va", TaskLanguages("cat", "Latn", "spa", "cat")),
        ("humaneval", TaskLanguages()),
        ("xcopa_zz", TaskLanguages()),
    ],
)
def test_names(leaf: str, expected: TaskLanguages) -> None:
    assert task_languages(leaf) == expected


def test_metadata_says_it_first() -> None:
    config = {"metadata": {"version": 1.0, "language": "swh"}}
    assert task_languages("xcopa_et", config) == TaskLanguages("swh", "Latn")
    config = {"metadata": {"source": "eng_Latn", "target": "zho_Hant"}}
    assert task_languages("mine", config) == TaskLanguages("cmn", "Hant", "eng", "cmn")
    with pytest.raises(ConfigError, match=re.escape("mine: the metadata of its YAML: Unknown")):
        task_languages("mine", {"metadata": {"language": "swahilish"}})
