"""What the documents are made of: nothing held out in an example, one right answer."""

from __future__ import annotations

from functools import cache

import pytest

from marco.data import lexicon as data
from marco.data.udhr import read_declarations
from marco.errors import DataError
from marco.evaluation.lexicon import Speaker, make_questions
from marco.evaluation.tasks.embedded import cloze, lexicon, lid, translate
from marco.evaluation.tasks.embedded.declarations import HELD_OUT, TRAINING, aligned, declared
from marco.evaluation.tasks.embedded.pieces import cut, opening, separator
from marco.languages import MARCO_LANGUAGES, get

# Of other scripts, and declarations with faults: placeholders, repeated text, articles divided
# otherwise or missing.
PLACEHOLDERS = ("&1", "@")
FAULTY = ("amr", "blt", "gex", "lug", "lvs", "nku", "oss", "piu", "quz")
SOME = ("swh", "tha", "cmn", "bod", "amh", "kal", *FAULTY)


@cache
def articles_of(code: str) -> dict[int, str]:
    return read_declarations([code])[code]


def held_out(code: str) -> str:
    articles = articles_of(code)
    return "\n".join(articles[number] for number in HELD_OUT if number in articles)


def test_the_split_is_that_of_the_data() -> None:
    assert list(range(26)) == TRAINING
    assert list(range(26, 31)) == HELD_OUT


@pytest.mark.parametrize("pair", [("eng", code) for code in SOME] + [("swh", "yor")])
def test_no_example_has_held_out_text(pair: tuple[str, str]) -> None:
    found = translate.documents(*pair)
    hidden = [held_out(code) for code in pair]
    for doc in found["train"]:
        assert int(doc["id"].split(".")[0]) in range(1, 26)
        for side in (doc["source"], doc["target"]):
            assert not any(side in text for text in hidden)
            assert not any(line in side for text in hidden for line in text.split("\n"))
    for doc in found["test"]:
        assert int(doc["id"].split(".")[0]) in HELD_OUT
        assert doc["source"] in hidden[0]
        assert doc["target"] in hidden[1]


@pytest.mark.parametrize("module", [cloze, lid])
@pytest.mark.parametrize("code", SOME)
def test_examples_of_the_choices_are_of_other_articles(module: object, code: str) -> None:
    found = module.documents(code)
    for split, numbers in (("train", TRAINING[1:]), ("test", HELD_OUT)):
        assert {int(doc["id"].split("/")[1].split(".")[0]) for doc in found[split]} <= {*numbers}


def test_paragraphs_translate_each_other() -> None:
    docs = translate.documents("deu", "fra")
    pairs = {doc["id"]: (doc["source"], doc["target"]) for doc in docs["test"]}
    german, french = pairs["26.2"]
    assert german == (
        "Die Eltern haben ein vorrangiges Recht, die Art der Bildung zu wählen, die ihren Kindern "
        "zuteilwerden soll."
    )
    assert french == (
        "Les parents ont, par priorité, le droit de choisir le genre d’éducation à donner à leurs "
        "enfants."
    )
    assert docs["train"][0]["source"] == "Jeder hat das Recht auf eine Staatsangehörigkeit."
    assert len(pairs) == 7


def test_an_article_that_is_divided_otherwise_is_left_out() -> None:
    english, other = (aligned(code, HELD_OUT) for code in ("eng", "ayo"))
    assert len(english) == 10
    assert {number for number, _ in other} < {number for number, _ in english}
    for number in {number for number, _ in other}:
        same = [[place for place in side if place[0] == number] for side in (english, other)]
        assert same[0] == same[1]


def test_languages_have_the_same_documents() -> None:
    english = {doc["id"] for doc in translate.documents("deu", "eng")["test"]}
    pieces = [doc["id"].split("/")[1] for doc in cloze.documents("eng")["test"]]
    answers = [doc["answer"] for doc in cloze.documents("eng")["test"]]
    for code in MARCO_LANGUAGES[1::4]:
        assert {doc["id"] for doc in translate.documents("eng", code)["test"]} == english
        docs = cloze.documents(code)["test"]
        assert [doc["id"].split("/")[1] for doc in docs] == pieces
        assert [doc["answer"] for doc in docs] == answers


@pytest.mark.parametrize("direction", ["from_english", "to_english"])
def test_the_words_are_those_of_the_lexicon(direction: str) -> None:
    speaker = Speaker("deu", "German", "high", "de")
    asked = make_questions(data.names, speaker, lexicon.QUESTIONS, lexicon.SEED)
    theirs = [(q.prompt, q.options, q.answer) for q in asked if q.direction == direction]
    pair = ("eng", "deu") if direction == "from_english" else ("deu", "eng")
    ours = [
        (
            f"{doc['source_name']}: {doc['word']}\n{doc['target_name']}:",
            tuple(f" {choice}" for choice in doc["choices"]),
            doc["answer"],
        )
        for doc in lexicon.documents(*pair)["test"]
    ]
    assert ours == theirs


def test_a_word_has_one_translation_between_any_two_languages() -> None:
    docs = lexicon.documents("spa", "por")
    spanish, portuguese = data.names("es"), data.names("pt")
    meanings = {(spanish[c], portuguese[c]) for c in spanish if c in portuguese}
    for doc in [*docs["test"], *docs["train"]]:
        right = [choice for choice in doc["choices"] if (doc["word"], choice) in meanings]
        assert right == [doc["choices"][doc["answer"]]]
        assert doc["word"].casefold() != right[0].casefold()
        assert len(set(doc["choices"])) == 4
    words = [{doc["word"] for doc in docs[split]} for split in ("test", "train")]
    assert not words[0] & words[1]


@pytest.mark.parametrize("code", [*SOME, "rus", "arb", "zlm", "jpn"])
def test_languages_to_choose_from(code: str) -> None:
    asked = get(code)
    for doc in lid.documents(code)["test"]:
        assert doc["choices"][doc["answer"]] == asked.name
        assert len(set(doc["choices"])) == 4
        assert len(doc["text"].encode()) <= lid.SHOWN
        assert doc["text"] in held_out(code)
        if asked.script in ("Latn", "Cyrl", "Arab"):
            assert {get(name).script for name in doc["choices"]} == {asked.script}


def test_the_place_of_the_answer_is_even() -> None:
    for module in (lid, cloze):
        places = [doc["answer"] for code in SOME for doc in module.documents(code)["test"]]
        assert all(len(places) / 8 < places.count(place) < len(places) / 2 for place in range(4))


def test_examples_of_languages_do_not_give_the_answer_away() -> None:
    one, two = (list(lid.documents(code)["train"]) for code in ("swh", "tha"))
    assert one == two
    names = [doc["choices"][doc["answer"]] for doc in one]
    assert len(set(names)) == len(names) == lid.EXAMPLES


@pytest.mark.parametrize("code", SOME)
def test_an_article_goes_on(code: str) -> None:
    between = separator(code)
    article = {
        number: between.join(line for line in text.split("\n") if line not in PLACEHOLDERS)
        for number, text in articles_of(code).items()
    }
    for doc in cloze.documents(code)["test"]:
        number = int(doc["id"].split("/")[1].split(".")[0])
        right = doc["choices"][doc["answer"]]
        plain = "".join((doc["text"] + right).split())
        assert plain in "".join(article[number].split())
        wrong = [choice for choice in doc["choices"] if choice != right]
        assert len(set(wrong)) == 3
        others = [text for other, text in article.items() if other in HELD_OUT and other != number]
        assert all(any(choice.strip() in text for text in others) for choice in wrong)
        # All begin alike, so that a space does not tell them apart.
        assert {choice[0] == " " for choice in doc["choices"]} == {between == " "}
        assert not any(choice[len(between)].isspace() for choice in doc["choices"])


def test_cutting() -> None:
    assert cut("aa bb cc dd", 2, " ") == ["aa bb", "cc dd"]
    assert cut("aaaaaaaa bb", 2, " ") == ["aaaaaaaa", "bb"]
    assert cut("aaaa", 2, " ") == []
    assert cut("人人有权。享有", 2, "") == ["人人有", "权。享有"]
    assert cut("กา กี่กู่", 2, "") == ["กา", "กี่กู่"]
    assert opening("aa bb cc", 7, " ") == "aa bb"
    assert opening("aa bb", 7, " ") == "aa bb"
    assert opening("权。享有", 10, "") == "权。享"
    assert (separator("eng"), separator("tha"), separator("kal")) == (" ", "", " ")


def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(DataError, match="no Assamese"):
        cloze.documents("asm")
    with pytest.raises(DataError, match="West-Central Limba has no held-out"):
        lid.documents("lia")
    with pytest.raises(DataError, match="no two paragraphs"):
        translate.documents("eng", "lia")
    with pytest.raises(DataError, match="no two paragraphs"):
        translate.documents("eng", "eng")
    with pytest.raises(DataError, match="CLDR lexicon has no Afar"):
        lexicon.documents("eng", "aar")


def test_every_declaration_can_be_used() -> None:
    """Each language has documents of both kinds (a sample of 40, evenly over the codes)."""
    for code in declared()[::11]:
        assert 5 <= len(lid.documents(code)["test"]) <= 32
        assert 13 <= len(cloze.documents(code)["test"]) <= 32
