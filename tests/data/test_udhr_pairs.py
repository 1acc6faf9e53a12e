"""The embedded declarations as parallel text."""

from __future__ import annotations

import pytest

from marco.config.bind import bind
from marco.data import pair_counts
from marco.data.documents import Document
from marco.data.pair_counts import PairCounts
from marco.data.udhr import Udhr
from marco.data.udhr_pairs import UdhrPairs
from marco.errors import ConfigError


def rendered(source: UdhrPairs) -> tuple[list[Document], PairCounts]:
    counts = PairCounts()
    return list(source.documents("parallel", counts)), counts


def test_articles_are_paired_in_every_direction_and_none_is_held_out() -> None:
    documents, counts = rendered(UdhrPairs(["en", "Swahili", "arb"]))
    assert counts.rows == 26
    assert len(documents) == 26 * 6
    assert set(counts.directions.values()) == {26}
    assert not counts.dropped
    corpus = Udhr(["eng", "swh", "arb"]).load()
    trained = [text.text for texts in corpus.train.values() for text in texts]
    held_out = [text.text for texts in corpus.held_out.values() for text in texts]
    together = "\n".join(document.text for document in documents)
    assert all(text in together for text in trained)
    assert not any(text in together for text in held_out)


@pytest.mark.parametrize("align", ["article", "paragraph"])
def test_pairs_are_translations_of_each_other(align: str) -> None:
    source = UdhrPairs(["eng", "deu"], align=align, templates=["labelled_text"], articles="1")
    texts = [document.text for document in rendered(source)[0]]
    assert any(
        text.startswith("English text: All human beings") and "German text: Alle Menschen" in text
        for text in texts
    )


def test_paragraphs_are_aligned_only_where_their_numbers_agree() -> None:
    languages = ["eng", "swh", "ydd", "amh", "zul"]
    _, articles = rendered(UdhrPairs(languages))
    documents, counts = rendered(UdhrPairs(languages, align="paragraph"))
    texts = Udhr(languages).load().train
    lines = {
        code: {d.parallel_id: d.text.count("\n") + 1 for d in declaration}
        for code, declaration in texts.items()
    }
    numbers = [f"article-{number}" for number in range(26)]
    together = [
        lines[one].get(number, 0)
        for number in numbers
        for place, one in enumerate(lines)
        for other in list(lines)[:place]
        if lines[one].get(number, 0) == lines[other].get(number, 0)
    ]
    apart = 26 * 10 - len(together)
    assert apart > 0
    assert counts.dropped[pair_counts.PARAGRAPHS] == apart
    assert counts.pairs == sum(together) + apart
    repeated = counts.dropped[pair_counts.REPEATED]
    assert len(documents) == 2 * sum(together) - repeated > articles.documents


def test_a_missing_article_is_counted() -> None:
    _, counts = rendered(UdhrPairs(["eng", "amh"]))  # Amharic lacks the preamble
    assert counts.dropped == {pair_counts.EMPTY: 1}
    assert counts.directions == {("amh", "eng"): 25, ("eng", "amh"): 25}


def test_fewer_pairs_by_choice() -> None:
    source = UdhrPairs(["eng", "swh", "arb"], pairs_per_row=2, directions="english_centric")
    _, counts = rendered(source)
    assert counts.documents == 52
    assert all("eng" in direction for direction in counts.directions)


def test_it_binds_and_checks() -> None:
    node = {
        "_target_": "marco.data.udhr_pairs.UdhrPairs",
        "languages": ["eng", "swh"],
        "directions": {"eng-swh": 2, "swh-eng": 1},
        "pairs_per_row": 1,
    }
    source = bind(node, "data.sources.parallel")
    source.check("data.sources.parallel")
    assert rendered(source)[1].documents == 26


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"languages": ["eng"]}, r"data.sources.p.languages=.*a pair needs two"),
        ({"languages": ["eng", "asm"]}, r"data.sources.p.languages: the UDHR corpus has no"),
        ({"languages": []}, r"data.sources.p.languages is empty"),
        ({"languages": ["eng", "swh"], "articles": "31"}, r"data.sources.p.articles=31"),
        ({"languages": ["swh", "yor"], "directions": "english_centric"}, "no direction has"),
    ],
)
def test_wrong_settings(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UdhrPairs(**wrong).check("data.sources.p")  # type: ignore[arg-type]


def test_the_content_key_sees_the_text() -> None:
    keys = {
        source.content_key()
        for source in (
            UdhrPairs(["eng", "swh"]),
            UdhrPairs(["eng", "yor"]),
            UdhrPairs(["eng", "swh"], articles="0-24"),
            UdhrPairs(["eng", "swh"], align="paragraph"),
        )
    }
    assert len(keys) == 4
