"""The CLDR lexicon."""

from __future__ import annotations

import unicodedata

import pytest

from marco.data import lexicon
from marco.errors import DataError
from marco.languages import MARCO_LANGUAGES, get

BANANA = "U+1F34C"


@pytest.mark.parametrize(
    ("locale", "name"),
    [("en", "banana"), ("zh", "香蕉"), ("sw", "ndizi"), ("yo", "Ọ̀gẹ̀dẹ̀"), ("hi", "केला")],
)
def test_names(locale: str, name: str) -> None:
    assert lexicon.names(locale)[BANANA] == unicodedata.normalize("NFC", name)


def test_every_marco_language_has_a_thousand_names() -> None:
    for code in MARCO_LANGUAGES:
        locale = get(code).cldr
        assert locale is not None
        assert len(lexicon.names(locale)) > 1000


def test_every_locale_is_nfc_and_identifies_its_concepts() -> None:
    assert len(lexicon.locales()) == 122
    for locale in lexicon.locales():
        names = list(lexicon.names(locale).values())
        assert all(name == name.strip() and name for name in names)
        assert all(unicodedata.is_normalized("NFC", name) for name in names)
        assert len({name.casefold() for name in names}) == len(names)


@pytest.mark.parametrize(
    ("locale", "english", "name"),
    [
        ("fr", "twelve o’clock", "midi"),  # midi/minuit
        ("or", "astronaut", "ମହାଶୂନ୍ୟ ଯାତ୍ରୀ"),  # … / ମହାକାଶ ଯାତ୍ରୀ
        ("fa", "square root", "جذر"),  # جذر، ریشه دوم
        ("uk", "index pointing up", "вказівний палець, що вказує вгору"),  # a clause: kept
        ("az", "convenience store", "7/24 açıq olan mağaza"),  # a number: kept
        ("de", "cook", "Koch/Köchin"),  # "Koch" is the name of another concept: kept
    ],
)
def test_of_two_names_the_first_is_kept(locale: str, english: str, name: str) -> None:
    concept = next(key for key, value in lexicon.names("en").items() if value == english)
    assert lexicon.names(locale)[concept] == name


def test_unknown_locale() -> None:
    with pytest.raises(DataError, match=r"no locale 'swa'.*'sw'"):
        lexicon.names("swa")
