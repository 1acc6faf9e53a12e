from __future__ import annotations

from collections.abc import Callable

import pytest

from marco.data.documents import Document
from marco.data.preference_rows import Pair
from marco.data.udhr_preference import KINDS, UdhrPreference, build, cut, shuffled
from marco.errors import ConfigError

ENG = ["one two three four five six seven eight", "a b c d e f g h i j k l m n o p"]
SWH = ["moja mbili tatu nne tano sita saba nane", "ha he hi ho hu ka ke ki ko ku la le li lo"]


def documents() -> dict[str, list[Document]]:
    return {
        code: [
            Document(text, code, "test", f"{code}{number}", f"article-{number}")
            for number, text in enumerate(texts)
        ]
        for code, texts in (("eng", ENG), ("swh", SWH))
    }


def made(kind: str, each: int = 20, seed: int = 0) -> list[Pair]:
    return list(build("eng", documents(), each, {kind: 1.0}, seed))


def test_chosen_is_the_articles_own_end() -> None:
    for kind in KINDS:
        pairs = made(kind)
        assert [f"{pair.prompt}{pair.chosen}" for pair in pairs] == [ENG[0]] * 20 + [ENG[1]] * 20
        assert len({pair.prompt for pair in pairs}) > 4  # cut at different places
        assert all(pair.prompt and pair.chosen and pair.rejected for pair in pairs)


def test_rejected_in_another_language() -> None:
    for number, pair in enumerate(made("language")):
        assert SWH[number // 20].endswith(str(pair.rejected))


def test_rejected_of_another_article() -> None:
    for number, pair in enumerate(made("article")):
        assert ENG[1 - number // 20].endswith(str(pair.rejected))


def test_rejected_in_no_order() -> None:
    moved = 0
    for pair in made("shuffled"):
        assert sorted(pair.rejected) == sorted(pair.chosen)  # a short end: its letters
        moved += pair.rejected != pair.chosen
    assert moved > 30


def test_every_way_comes_as_often_as_its_weight_says() -> None:
    weights = {"language": 1.0, "article": 3.0, "shuffled": 0.0}
    pairs = list(build("eng", documents(), 500, weights, 0))
    other = sum(str(pair.rejected)[-4:] in ("nane", "i lo") for pair in pairs)
    assert other / len(pairs) == pytest.approx(0.25, abs=0.05)  # 2 standard errors are 0.03


def test_draws_are_the_seeds_and_the_texts() -> None:
    assert made("language") == made("language")
    assert made("language") != made("language", seed=1)
    reordered = {code: found[::-1] for code, found in documents().items()}
    again = list(build("eng", reordered, 20, {"language": 1.0}, 0))
    assert again[20:] + again[:20] == made("language")


def test_without_a_translation_there_is_no_other_language() -> None:
    alone = documents()
    alone["swh"].pop()
    pairs = list(build("eng", alone, 3, {"language": 1.0}, 0))
    assert [f"{pair.prompt}{pair.chosen}" for pair in pairs] == [ENG[0]] * 3


@pytest.mark.parametrize(
    ("text", "share", "wanted"),
    [
        ("one two three four", 0.5, ("one two", " three four")),
        ("人人生而自由", 0.5, ("人人生", "而自由")),
        ("ทั้งหลาย", 0.25, ("ทั้", "งหลาย")),  # not between a letter and its marks
        ("กกกกกกกกกก ข", 0.25, ("กกก", "กกกกกกก ข")),  # the only space is far away
        ("ab", 0.0, ("a", "b")),
    ],
)
def test_cut(text: str, share: float, wanted: tuple[str, str]) -> None:
    assert cut(text, share) == wanted


def reversing() -> Callable[[str], float]:
    """Draws that fall: everything in reverse."""
    drawn = iter(range(0, -1000, -1))
    return lambda purpose: float(next(drawn))


def test_shuffled() -> None:
    assert shuffled(" a b c d", reversing()) == " d c b a"
    assert shuffled("人人生而", reversing()) == "而生人人"
    assert shuffled("ทั้ง", reversing()) == "งทั้"  # marks stay with their letter


def test_the_declarations() -> None:
    data = UdhrPreference(languages=["eng", "tha", "cmn"], max_tokens=4096)
    data.check()
    corpus = data.load()
    pairs = list(data.pairs("tha", corpus))
    assert len(pairs) == 26 * 3
    texts = [document.text for document in corpus.train["tha"]]
    assert [f"{pair.prompt}{pair.chosen}" for pair in pairs[::3]] == texts
    held_out = {document.text for document in corpus.held_out["tha"]}
    assert not held_out & set(texts)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"pairs_per_article": 0}, r"data\.pairs_per_article=0"),
        ({"rejected": {"langage": 1.0}}, r"data\.rejected\.langage: one of .*'language'"),
        ({"rejected": {"article": -1.0}}, r"data\.rejected\.article=-1\.0"),
        ({"rejected": {}}, r"data\.rejected: no weight"),
        ({"languages": ["eng"]}, r"needs a second"),
    ],
)
def test_wrong_settings(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UdhrPreference(**{"languages": ["eng", "tha"], "max_tokens": 100, **keys}).check()  # type: ignore[arg-type]
