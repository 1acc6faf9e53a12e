"""N-grams against a plain reference with sets of tuples, over made-up text of all scripts."""

from __future__ import annotations

import re
import unicodedata
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marco.data.udhr import read_declarations
from marco.evaluation.contamination.ngrams import Lengths, hash_ngrams

SMALL = Lengths(2, 3, 4)
DENSE, SPARSE = re.compile("[\u4e00-\u9fff\u3040-\u30ff]"), re.compile("[\u0e00-\u0e7f]")
ALPHABET = "ab ABé.,-'1９ 中文かカ กขิ\u200d\u00ad\nß\u0301 ﬁ"


def units(text: str) -> list[tuple[str, str]]:
    """Kind and letters of every unit, one character after the other."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    found: list[tuple[str, str]] = []
    open_word = False
    for letter in text:
        category = unicodedata.category(letter)
        if category == "Cf":
            continue
        if category[0] not in "LMN":
            open_word = False
        elif DENSE.match(letter) or SPARSE.match(letter):
            found.append(("dense" if DENSE.match(letter) else "sparse", letter))
            open_word = False
        elif open_word:
            found[-1] = ("word", found[-1][1] + letter)
        else:
            found.append(("word", letter))
            open_word = True
    return found


def reference(text: str, lengths: Lengths) -> list[tuple[str, ...]]:
    of_kind = {"word": lengths.words, "dense": lengths.dense, "sparse": lengths.sparse}
    all_units = units(text)
    grams = []
    for place, (kind, _) in enumerate(all_units):
        window = all_units[place : place + of_kind[kind]]
        if len(window) == of_kind[kind]:
            grams.append(tuple(letters for _, letters in window))
    return grams


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(ALPHABET, max_size=40), max_size=4))
def test_the_reference_agrees(texts: list[str]) -> None:
    found = hash_ngrams(texts, SMALL)
    wanted = [reference(text, SMALL) for text in texts]
    assert found.counts.tolist() == [len(grams) for grams in wanted]
    of_gram: dict[tuple[str, ...], int] = {}
    every = [gram for grams in wanted for gram in grams]
    for gram, value in zip(every, found.hashes.tolist(), strict=True):
        assert of_gram.setdefault(gram, value) == value
    assert len(set(of_gram.values())) == len(of_gram)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 13, 20, 64])
def test_any_length(length: int) -> None:
    words = [f"w{number % 40}" for number in range(100)]
    found = hash_ngrams([" ".join(words)], Lengths(length, 20, 64))
    wanted = [tuple(words[at : at + length]) for at in range(100 - length + 1)]
    assert len(found.hashes) == len(wanted)
    pairs = dict(zip(wanted, found.hashes.tolist(), strict=True))
    assert len(set(pairs.values())) == len(set(wanted))
    assert [pairs[gram] for gram in wanted] == found.hashes.tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Don't —  STOP!", "don t: stop"),
        ("e\u0301tat Straße co\u00adop", "ÉTAT STRASSE coop"),
        ("ﬁne ９ x", "fine 9 X"),
        ("中文，字。", "中 文 字"),
        ("กข\u200bค ฅ", "กขคฅ"),
    ],
)
def test_what_counts_as_the_same(one: str, other: str) -> None:
    first, second = (hash_ngrams([text], SMALL) for text in (one, other))
    assert len(first.hashes)
    assert first.hashes.tolist() == second.hashes.tolist()


def test_the_order_matters() -> None:
    texts = ["a b c", "c b a", "ab c", "a bc"]
    grams = [set(hash_ngrams([text], Lengths(2, 3, 4)).hashes.tolist()) for text in texts]
    for one, other in combinations(grams, 2):
        assert not one & other


def test_lengths_of_scripts() -> None:
    assert Lengths.of(13) == Lengths(13, 20, 64)
    assert Lengths.of(8) == Lengths(8, 12, 39)
    codes = {"cmn": 20, "jpn": 20, "tha": 64, "lao": 64, "mya": 64, "khm": 64, "bod": 64}
    for code, length in codes.items():
        text = read_declarations([code])[code][1]
        letters = len(units_of_characters(text))
        grams = hash_ngrams([text], Lengths.of(13)).counts[0]
        assert grams == pytest.approx(letters - length + 1, abs=3), code


def units_of_characters(text: str) -> str:
    text = unicodedata.normalize("NFKC", text)
    return "".join(letter for letter in text if unicodedata.category(letter)[0] in "LMN")


def test_collisions_are_as_rare_as_of_random_hashes() -> None:
    """Every bit of the hashes of similar n-grams is as good as a coin."""
    texts = [f"{first} {second}" for first in range(300) for second in range(300)]
    hashes = hash_ngrams(texts, Lengths(2, 3, 4)).hashes
    assert len(set(hashes.tolist())) == 90_000
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(90_000)


def test_nothing() -> None:
    for texts in ([], [""], ["", "...", "a"]):
        found = hash_ngrams(texts, SMALL)
        assert (len(found.hashes), found.counts.tolist()) == (0, [0] * len(texts))
