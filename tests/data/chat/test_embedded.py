"""Embedded instructions: right answers, in the right language, nothing that evaluations ask."""

from __future__ import annotations

import re
from functools import lru_cache

import pytest

from marco.data.chat.embedded import EmbeddedChat
from marco.data.chat.embedded_data import EmbeddedChats
from marco.data.chat.messages import ChatCounts
from marco.data.lexicon import names
from marco.data.udhr import article_numbers, read_declarations
from marco.errors import ConfigError
from marco.evaluation.lexicon import draw_choices
from marco.languages import MARCO_LANGUAGES, get

CODES = tuple(MARCO_LANGUAGES)


@lru_cache(maxsize=32)
def made(answers: str, *tasks: str, languages: tuple[str, ...] = CODES, **more: object):
    settings = EmbeddedChat(
        answers=answers,
        languages=languages,
        max_tokens=99,
        **({"tasks": tasks} if tasks else {}),
        **more,  # type: ignore[arg-type]
    )
    counts = ChatCounts()
    found = list(settings.conversations("data", counts))
    return [(one.content, other.content) for one, other in found], counts


def test_articles_are_numbers_and_their_own() -> None:
    swahili = read_declarations(["swh"])["swh"]
    found, _ = made("swh", "article", languages=("swh", "eng"))
    assert len(found) > 30
    for asked, answer in found:
        assert any(line in asked for line in swahili[int(answer)].split("\n"))
    assert {int(answer) for _, answer in found} == set(range(1, 26))


def test_translations_are_the_same_paragraph() -> None:
    texts = read_declarations(["deu", "eng"])
    lines = {c: {n: t.split("\n") for n, t in texts[c].items()} for c in texts}
    found, _ = made("deu", "translate", languages=("deu", "eng"))
    assert len(found) > 30
    for asked, answer in found:
        assert "German" in asked
        article, place = next(
            (number, own.index(answer)) for number, own in lines["deu"].items() if answer in own
        )
        assert lines["eng"][article][place] in asked


def test_words_are_those_of_the_lexicon() -> None:
    english, thai = names("en"), names("th")
    pairs = {(english[c], thai[c]) for c in english if c in thai}
    found, _ = made("tha", "word", languages=("tha", "eng"))
    assert len(found) == 200
    for asked, answer in found:
        assert any(
            re.search(rf"\b{re.escape(one)}\b", asked) for one, two in pairs if two == answer
        )


def test_sources_are_many_languages_and_a_table_chooses_them() -> None:
    found, _ = made("swh", "word", languages=(*CODES, "swh"))
    named = {code for code in CODES if any(f"({get(code).name})" in asked for asked, _ in found)}
    assert len(named) > 15
    only, _ = made("swh", "word", languages=(*CODES, "swh"), directions="english_centric")
    assert all(re.search(r"\(English\)|from English|What is “", asked) for asked, _ in only)


@pytest.mark.parametrize("code", CODES)
def test_nothing_held_out_is_in_it(code: str) -> None:
    found, _ = made(code)
    assert len(found) > 100
    whole = "\n".join(f"{asked}\n{answer}" for asked, answer in found)
    declarations = read_declarations(list(CODES))
    for articles in declarations.values():
        for number in article_numbers("x", "26-30"):
            for line in articles.get(number, "").split("\n"):
                assert len(line) < 20 or line not in whole
    if code == "eng":
        return
    words = {answer for _, answer in made(code, "word")[0]}
    asked = draw_choices(names, "en", str(get(code).cldr), 40, 0)  # as many as a task has
    assert len(asked) == 40
    assert not words & {choice.options[choice.answer][1] for choice in asked}


def test_it_is_the_same_every_time_and_another_with_another_seed() -> None:
    first = made("swh", languages=("swh", "eng", "deu"))
    made.cache_clear()
    assert made("swh", languages=("swh", "eng", "deu")) == first
    assert made("swh", languages=("swh", "eng", "deu"), seed=1)[0] != first[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"held_out_words": 1.0}, r"data\.held_out_words=1\.0: from 0 to below 1"),
        ({"words": 0}, r"data\.words=0: at least 1"),
        ({"tasks": []}, r"data\.tasks=\[\]: some of translate, word, article"),
        ({"train_articles": "0-26"}, "share"),
        ({"languages": ["eng"]}, "two at least"),
        ({"directions": "any"}, r"data\.directions=any"),
        ({"max_tokens": 1}, r"data\.max_tokens=1: at least 2"),
        ({"template": "no.jinja"}, r"data\.template=no\.jinja: null, chatml, or a file"),
    ],
)
def test_settings_that_are_wrong(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EmbeddedChats(**{"languages": ["eng", "swh"], "max_tokens": 64, **settings}).check()  # type: ignore[arg-type]
