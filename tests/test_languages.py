"""The language registry."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.errors import ConfigError
from marco.languages import (
    GROUPS,
    MARCO_LANGUAGES,
    Language,
    _aliases,
    _fold,
    all_languages,
    canonical,
    get,
)

EVERY = all_languages()


def test_marco_languages_follow_table_1() -> None:
    english_chinese_high = ["en", "zh", "ar", "de", "es", "fr", "ja", "ko", "pt", "tr"]
    low = "az bn cs el he hu id it kk ms ne nl pl ro ru th uk ur vi"
    assert canonical([*english_chinese_high, *low.split()]) == list(MARCO_LANGUAGES)
    groups = [get(code).group for code in MARCO_LANGUAGES]
    assert groups == ["english", "chinese", *["high"] * 8, *["low"] * 19]
    others = {row.group for row in EVERY if row.code not in MARCO_LANGUAGES}
    assert others == {"low"}
    assert set(groups) == set(GROUPS)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("en", "eng"),
        ("zh", "cmn"),
        ("zho_Hans", "cmn"),
        ("zh-Hans", "cmn"),
        ("eng_Latn", "eng"),
        ("deu_1996", "deu"),
        ("mly_latn", "zlm"),
        ("zsm_Latn", "zlm"),
        ("kor_Hang", "kor"),
        ("swahili", "swh"),
        (" German ", "deu"),
        ("YORUBA", "yor"),
        ("fil", "tgl"),
        ("no", "nob"),
        ("srp_Cyrl", "srp"),
    ],
)
def test_aliases(written: str, code: str) -> None:
    assert get(written).code == code


def test_rows_hold_what_the_corpora_need() -> None:
    yiddish = get("ydd")
    assert (yiddish.script, yiddish.direction, yiddish.family) == ("Hebr", "rtl", "Indo-European")
    assert get("pes").direction == "rtl"
    assert get("amh") == get("am")
    assert (get("cmn").udhr, get("cmn").cldr) == ("cmn_hans", "zh")
    assert (get("asm").udhr, get("asm").cldr) == (None, "as")
    assert get("jpn").script == "Jpan"


def test_native_names_are_in_the_script_of_the_text() -> None:
    assert (get("swh").native_name, get("cmn").native_name) == ("Kiswahili", "中文")
    assert (get("nob").native_name, get("nno").native_name) == ("norsk bokmål", "norsk nynorsk")
    assert get("ada").native_name is None  # CLDR has no locale of Dangme
    assert all(get(code).native_name for code in MARCO_LANGUAGES)
    named = [row for row in EVERY if row.native_name]
    assert len(named) > 180
    scripts = {"Arab": "ARABIC", "Cyrl": "CYRILLIC", "Deva": "DEVANAGARI", "Latn": "LATIN"}
    for row in named:
        assert row.native_name is not None
        assert unicodedata.is_normalized("NFC", row.native_name)
        letters = [unicodedata.name(letter) for letter in row.native_name if letter.isalpha()]
        assert all(
            name.startswith((scripts.get(row.script, ""), "MODIFIER LETTER")) for name in letters
        ), row


def test_rows_are_sorted_unique_and_complete() -> None:
    codes = [row.code for row in EVERY]
    assert codes == sorted(set(codes))
    assert len(codes) > 400
    assert all(len(row.code) == 3 and len(row.script) == 4 for row in EVERY)
    for column in ("name", "iso639_1", "udhr", "cldr"):
        values = [value for row in EVERY if (value := getattr(row, column)) is not None]
        assert len(values) == len(set(values)), column
    assert {row.group for row in EVERY} <= set(GROUPS)


@given(st.sampled_from(EVERY))
def test_every_name_and_script_tag_leads_back(language: Language) -> None:
    assert get(f"{language.code}_{language.script}") == language
    if len(_aliases()[_fold(language.name)]) == 1:
        assert get(language.name.upper()) == language


def test_a_name_that_is_another_language_s_code_is_ambiguous() -> None:
    assert get("fur").name == "Friulian"
    with pytest.raises(ConfigError, match=r"fur \(Friulian\) or fvr \(Fur\)"):
        get("Fur")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("germn", "German"), ("Swahilli", "Swahili"), ("enq", "eng"), ("srp_Latn", "srp")],
)
def test_unknown_language_names_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=f"Unknown language '{wrong}'.*'{right}'"):
        get(wrong)


@pytest.mark.parametrize("misleading", ["rmy", "qud", "zh-Hant", "", "x"])
def test_labels_of_something_else_are_refused(misleading: str) -> None:
    with pytest.raises(ConfigError):
        get(misleading)


def test_yaml_norway_is_explained() -> None:
    with pytest.raises(ConfigError, match="nob"):
        canonical([False])  # type: ignore[list-item]


def test_duplicates_after_aliasing_are_refused() -> None:
    with pytest.raises(ConfigError, match="deu is named twice: as 'de' and as 'German'"):
        canonical(["de", "en", "German"])


def test_a_bare_string_is_not_a_list() -> None:
    with pytest.raises(ConfigError, match=r"\[eng\]"):
        canonical("eng")


def test_importing_reads_nothing_and_lookup_is_fast() -> None:
    program = (
        "import time, marco.languages as m\n"
        "assert m._rows.cache_info().currsize == 0\n"
        "start = time.process_time(); m.get('en'); print(time.process_time() - start)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.2  # measured: 0.01 s
