"""The UDHR corpus."""

from __future__ import annotations

import unicodedata

import pytest

from marco.data.udhr import Udhr
from marco.errors import ConfigError, DataError
from marco.languages import MARCO_LANGUAGES, all_languages


def test_the_29_languages_are_complete_and_parallel() -> None:
    corpus = Udhr(list(MARCO_LANGUAGES)).load()
    assert list(corpus.train) == list(corpus.held_out) == list(MARCO_LANGUAGES)
    train_ids = [f"article-{number}" for number in range(26)]
    held_out_ids = [f"article-{number}" for number in range(26, 31)]
    for code in MARCO_LANGUAGES:
        assert [document.parallel_id for document in corpus.train[code]] == train_ids
        assert [document.parallel_id for document in corpus.held_out[code]] == held_out_ids
        assert {document.language for document in corpus.train[code]} == {code}
    assert corpus.notes == []


def test_documents_are_nfc_and_hold_letters() -> None:
    codes = [row.code for row in all_languages() if row.udhr is not None and row.code != "lia"]
    corpus = Udhr(codes).load()
    documents = [
        document
        for split in (corpus.train, corpus.held_out)
        for d in split.values()
        for document in d
    ]
    assert len(codes) == 437
    assert all(unicodedata.is_normalized("NFC", document.text) for document in documents)
    assert all(any(map(str.isalpha, document.text)) for document in documents)
    ids = [(document.language, document.id) for document in documents]
    assert len(ids) == len(set(ids))


def test_a_document_is_an_article() -> None:
    corpus = Udhr(["English"], train_articles="0, 4-5", held_out_articles="1").load()
    first = corpus.held_out["eng"][0]
    assert first.text.startswith("All human beings are born free and equal")
    assert (first.source, first.id) == ("udhr", "eng/article-1")
    assert [document.id for document in corpus.train["eng"]] == [
        "eng/article-0",
        "eng/article-4",
        "eng/article-5",
    ]
    assert "\n" in corpus.train["eng"][0].text  # the preamble's paragraphs


def test_missing_articles_are_left_out_and_noted() -> None:
    corpus = Udhr(["amh"]).load()
    assert len(corpus.train["amh"]) == 25
    assert corpus.notes == ["udhr: Amharic (amh) lacks article 0"]


def test_a_language_without_any_held_out_article_is_an_error() -> None:
    with pytest.raises(DataError, match=r"\(lia\) has no article \[26, 27, 28, 29, 30\]"):
        Udhr(["lia"]).load()


def test_overlap_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"data.held_out_articles=25-30.*share \[25, 26\]"):
        Udhr(["eng"], train_articles="0-26", held_out_articles="25-30")


@pytest.mark.parametrize("written", ["", "31", "5-2", "a", "0-", "-3", "0;5", "1-99"])
def test_wrong_articles_are_errors(written: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.train_articles="):
        Udhr(["eng"], train_articles=written)


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        ([], "data.languages is empty"),
        (["asm"], r"no Assamese \(asm\)"),
        (["swahilli"], "Did you mean 'Swahili'"),
        (["en", "eng"], "named twice"),
    ],
)
def test_wrong_languages_are_found_by_check(languages: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Udhr(languages).check()


def test_codes_are_canonical() -> None:
    assert Udhr(["zh", "deu_1996", "Yoruba"]).language_codes() == ["cmn", "deu", "yor"]
