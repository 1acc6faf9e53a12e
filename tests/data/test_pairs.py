"""Pairs become documents: each once in a direction, wherever it stood, and none is lost."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.data import Document, pair_counts
from marco.data.pair_counts import PairCounts
from marco.data.pairs import ParallelText
from marco.data.templates import all_templates
from marco.errors import ConfigError, DataError

CODES = ["arb", "eng", "swh", "yor"]


@dataclass(frozen=True)
class Rows(ParallelText):
    """Parallel text that a test wrote."""

    given: list[dict[str, str]] = field(default_factory=list)

    def rows(self, counts: PairCounts) -> Iterator[Mapping[str, str]]:
        yield from self.given

    def codes(self, where: str) -> list[str] | None:
        return CODES

    def text_key(self) -> str:
        return repr(self.given)


def rendered(source: ParallelText) -> tuple[list[Document], PairCounts]:
    counts = PairCounts()
    try:
        return list(source.documents("parallel", counts)), counts
    except DataError:
        return [], counts


def way(document: Document) -> tuple[str, str]:
    source, target = document.id.split("/")[1].split("-")
    return source, target


def sentences(count: int) -> list[dict[str, str]]:
    return [{"eng": f"Sentence {n}.", "swh": f"Sentensi {n}."} for n in range(count)]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", " ", "{target}", "same", "السلام عليكم", "𞤀𞤁𞤂 𐍈", "e\u0301", "\ufeff", "a\u2028b"]
)
rows = st.lists(st.dictionaries(st.sampled_from(CODES), texts), max_size=12)
weights = st.sampled_from(["any_to_any", "english_centric"]) | st.dictionaries(
    st.sampled_from([f"{a}-{b}" for a in CODES for b in CODES if a != b]),
    st.floats(0.1, 10),
    min_size=1,
)
settings = st.fixed_dictionaries(
    {
        "given": rows,
        "directions": weights,
        "pairs_per_row": st.none() | st.integers(1, 13),
        "names": st.sampled_from(["english", "native", "both"]),
        "drop_copies": st.booleans(),
        "drop_duplicates": st.booleans(),
        "max_length_ratio": st.none() | st.floats(1, 4),
        "seed": st.integers(0, 3),
    }
).map(lambda chosen: Rows(**chosen))


def clean(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def allowed(source: Rows, one: str, other: str) -> bool:
    """Whether the pair passes all filters, said once more."""
    lengths = sorted((len(one), len(other)))
    too_long = (
        source.max_length_ratio is not None and lengths[1] > source.max_length_ratio * (lengths[0])
    )
    return bool(one and other) and not too_long and not (source.drop_copies and one == other)


@given(settings)
def test_every_pair_is_rendered_or_counted(source: Rows) -> None:
    documents, counts = rendered(source)
    dropped = counts.dropped.copy()
    alone = sum(len(row) < 2 for row in source.given)
    assert dropped.pop(pair_counts.ALONE, 0) == alone
    assert counts.rows == len(source.given) - alone
    repeated = dropped.pop(pair_counts.REPEATED, 0)

    directed = Counter()
    drawn = left = 0
    for row in source.given:
        possible = 0
        for one, other in combinations(row, 2):
            if allowed(source, clean(row[one]), clean(row[other])):
                both = [(one, other), (other, one)]
                if isinstance(source.directions, dict):
                    both = [pair for pair in both if "-".join(pair) in source.directions]
                elif source.directions == "english_centric":
                    both = [pair for pair in both if "eng" in pair]
                possible += len(both)
                left += bool(both)
                directed.update((*pair, *(clean(row[code]) for code in pair)) for pair in both)
        drawn += possible if source.pairs_per_row is None else min(possible, source.pairs_per_row)
    assert (
        counts.pairs
        == sum(math.comb(len(row), 2) for row in source.given)
        == (left + dropped.total())
    )
    assert len(documents) == counts.documents == drawn - repeated
    assert counts.directions == Counter(map(way, documents))
    if source.drop_duplicates:
        assert len({document.id for document in documents}) == len(documents)
    else:
        assert repeated == 0
    if source.pairs_per_row is None:  # nothing is left to chance: exactly these, nothing else
        expected = len(directed) if source.drop_duplicates else directed.total()
        assert len(documents) == expected


@given(settings)
def test_sides_stand_in_the_rendering_as_they_are(source: Rows) -> None:
    for document in rendered(source)[0]:
        one, other = way(document)
        assert any(
            template.render(first, second, clean(row[one]), clean(row[other])) == document.text
            for row in source.given
            if one in row and other in row
            for template in all_templates()
            for first in NAMES[one]
            for second in NAMES[other]
        )
        assert unicodedata.is_normalized("NFC", document.text)
        assert (document.language, document.source) == ("mul", "parallel")
        assert document.parallel_id is None


NAMES = {
    "arb": ("Arabic", "العربية"),
    "eng": ("English", "English"),
    "swh": ("Swahili", "Kiswahili"),
    "yor": ("Yoruba", "Èdè Yorùbá"),
}


@given(settings, st.randoms(use_true_random=False))
def test_the_order_of_lines_and_columns_changes_nothing(source: Rows, random: object) -> None:
    shuffled = [dict(reversed(row.items())) for row in source.given]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, counts = rendered(source)
    second, same_counts = rendered(replace(source, given=shuffled))
    key = repr
    assert sorted(first, key=key) == sorted(second, key=key)
    assert counts == same_counts


def test_seeds_draw_anew() -> None:
    ids = [[d.text for d in rendered(Rows(given=sentences(50), seed=n))[0]] for n in (0, 0, 1)]
    assert ids[0] == ids[1]
    assert sum(a != b for a, b in zip(ids[0], ids[2], strict=True)) > 25


def test_directions_of_two_languages_follow_their_weights() -> None:
    table = {"eng-swh": 2.0, "swh-eng": 1.0}
    _, counts = rendered(Rows(given=sentences(6000), directions=table))
    forward = counts.directions["eng", "swh"]
    assert abs(forward - 4000) < 4 * math.sqrt(6000 * 2 / 9)
    assert counts.documents == 6000
    only = rendered(Rows(given=sentences(100), directions={"swh-eng": 0.1}))[1]
    assert only.directions == {("swh", "eng"): 100}


def test_the_draws_of_one_row_do_not_hang_together() -> None:
    rows = [{"eng": f"e{n}", "swh": f"s{n}", "yor": f"y{n}"} for n in range(3000)]
    documents, _ = rendered(Rows(given=rows, pairs_per_row=2))
    drawn = Counter(
        (way(first), way(second))
        for first, second in zip(documents[::2], documents[1::2], strict=True)
    )
    assert len(drawn) == 6 * 5
    statistic = sum((found - 100) ** 2 / 100 for found in drawn.values())
    assert statistic < 58.4  # the 99.9 % quantile of chi-square at 29 degrees of freedom


def test_templates_and_kinds_of_names_are_drawn_evenly() -> None:
    count = 5500
    documents, _ = rendered(Rows(given=sentences(count), names="both"))
    native = sum("Kiswahili" in document.text for document in documents)
    assert abs(native - count / 2) < 4 * math.sqrt(count / 4)
    openings = Counter(
        next(
            template.name
            for template in all_templates()
            for name in NAMES["swh"]
            for languages in [("English", name), (name, "English")]
            for sides in [
                (f"Sentence {n}.", f"Sentensi {n}."),
                (f"Sentensi {n}.", f"Sentence {n}."),
            ]
            if template.render(*languages, *sides) == document.text
        )
        for n, document in enumerate(documents)
    )
    assert len(openings) == 11
    statistic = sum((found - 500) ** 2 / 500 for found in openings.values())
    assert statistic < 29.6  # the 99.9 % quantile of chi-square at ten degrees of freedom


def test_reasons_are_counted() -> None:
    source = Rows(
        given=[
            {"eng": "kept", "swh": "imewekwa"},
            {"eng": "kept", "swh": "imewekwa"},
            {"eng": "empty", "swh": " \u3000"},
            {"eng": "same", "swh": "same"},
            {"eng": "long", "swh": "ndefu" * 9},
            {"eng": "alone"},
            {"swh": "bila", "yor": "Kiingereza"},
        ],
        drop_copies=True,
        max_length_ratio=5,
        directions={"eng-swh": 1},
    )
    documents, counts = rendered(source)
    assert [way(document) for document in documents] == [("eng", "swh")]
    assert counts.dropped == {
        pair_counts.REPEATED: 1,
        pair_counts.EMPTY: 1,
        pair_counts.COPY: 1,
        pair_counts.LENGTH: 1,
        pair_counts.ALONE: 1,
        pair_counts.NO_DIRECTION: 1,
    }
    notes = counts.notes("parallel")
    assert "parallel: dropped 1 pairs with an empty or missing side" in notes
    assert notes[-1] == "parallel: 1 documents in 1 directions from 6 pairs in 6 rows"


def test_switched_off_filters_drop_nothing() -> None:
    given = [{"eng": "same", "swh": "same"}, {"eng": "long", "swh": "ndefu" * 99}]
    assert len(rendered(Rows(given=given))[0]) == 2
    twice = Rows(given=given + given, drop_duplicates=False)
    assert len(rendered(twice)[0]) == 4


def test_a_pair_of_two_rows_comes_once() -> None:
    given = [{"eng": "a", "swh": "b", "yor": "c"}, {"eng": "a", "swh": "b", "arb": "d"}]
    documents, counts = rendered(Rows(given=given, pairs_per_row=None))
    assert len(documents) == 10
    assert counts.dropped == {pair_counts.REPEATED: 2}


def test_missing_native_names_are_counted() -> None:
    given = [{"ada": f"d{n}", "eng": f"e{n}"} for n in range(5)]
    _, counts = rendered(Rows(given=given, names="native"))
    assert counts.english_names == {"ada": 5}
    assert any("5 times" in note and "Dangme" in note for note in counts.notes("parallel"))
    assert rendered(Rows(given=given))[1].english_names == {}


def test_no_pairs_at_all_is_an_error_with_its_reasons() -> None:
    with pytest.raises(DataError, match=r"parallel: no parallel text.*2 pairs with an empty"):
        list(Rows(given=[{"eng": "a", "swh": ""}] * 2).documents("parallel", PairCounts()))


def test_language_of_the_documents() -> None:
    documents = Rows(given=sentences(1), language="sw").documents("parallel", PairCounts())
    assert {document.language for document in documents} == {"swh"}
    documents = Rows(given=sentences(1), language=None).documents("eng", PairCounts())
    assert {document.language for document in documents} == {"eng"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pairs_per_row": 0}, "data.sources.parallel.pairs_per_row=0"),
        ({"max_length_ratio": 0.5}, r"data.sources.parallel.max_length_ratio=0.5"),
        ({"max_length_ratio": math.nan}, "max_length_ratio=nan"),
        ({"templates": ["labelled"]}, "data.sources.parallel.templates"),
        ({"directions": "any"}, "data.sources.parallel.directions=any"),
        ({"directions": {"eng-fra": 1.0}}, "no pairs with French"),
        ({"language": "swahilli"}, "data.sources.parallel.language: .*'Swahili'"),
        ({"language": None}, "Unknown language 'parallel'"),
    ],
)
def test_check_names_the_key(wrong: dict[str, object], message: str) -> None:
    Rows().check("data.sources.parallel")
    with pytest.raises(ConfigError, match=message):
        Rows(**wrong).check("data.sources.parallel")  # type: ignore[arg-type]


def test_the_content_key_sees_what_changes_the_text() -> None:
    base = Rows(given=sentences(2))
    changes = [
        {"given": sentences(3)},
        {"directions": "english_centric"},
        {"directions": {"eng-swh": 1.0}},
        {"pairs_per_row": 2},
        {"names": "native"},
        {"templates": ["labelled_text"]},
        {"drop_copies": True},
        {"drop_duplicates": False},
        {"max_length_ratio": 3.0},
        {"seed": 1},
    ]
    keys = {replace(base, **change).content_key() for change in changes}  # type: ignore[arg-type]
    assert len(keys | {base.content_key()}) == len(changes) + 1
    assert replace(base).content_key() == base.content_key()


def test_preview_is_what_training_sees() -> None:
    source = Rows(given=sentences(9))
    assert source.preview("parallel", 3) == [d.text for d in rendered(source)[0]][:3]
