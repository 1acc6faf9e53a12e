from __future__ import annotations

from statistics import fmean

import pytest

from marco.evaluation.generations.repetition import UNSPACED, repetition
from marco.languages import get


def test_the_definition() -> None:
    assert repetition("a b c d e f g") == 0
    assert repetition("a b c d a b c d") == 1 - 4 / 5
    assert repetition("na " * 50) == 1 - 1 / 47
    assert repetition("a b a b a b", n=2) == 1 - 2 / 5
    assert repetition("one two three") is None
    assert repetition("… ! ?") is None
    assert repetition("Yes. Yes! (Yes) yes YES") == 0  # what is between words doesn't matter


def test_a_character_is_a_word_where_there_are_no_spaces() -> None:
    assert repetition("平等平等平等") == 1 - 2 / 3
    assert repetition("GPU平等平等平等") == pytest.approx(1 - 3 / 4)
    assert repetition("ดีดีดีดี") == repetition("ดี ดี ดี ดี")
    assert repetition("a" * 200) == 1 - 1 / 197  # no word is that long
    assert repetition("a" * 40) is None


def test_real_text_repeats_little(declarations: dict[str, dict[int, str]]) -> None:
    for code, articles in declarations.items():
        found = [repetition(text) for text in articles.values()]
        mean = fmean(value for value in found if value is not None)
        unspaced = get(code).script in UNSPACED or code == "jpn"
        assert mean < (0.12 if unspaced else 0.015), code


@pytest.mark.parametrize("code", ["eng", "cmn", "tha", "amh"])
def test_a_loop_is_seen_in_any_script(code: str, declarations: dict[str, dict[int, str]]) -> None:
    article = declarations[code][1]
    assert repetition(article * 10) > 0.85 > 0.3 > repetition(article)
