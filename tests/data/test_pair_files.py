"""A user's parallel files, and everything that can be wrong with them."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.config.bind import bind
from marco.data import Document, pair_counts
from marco.data.pair_counts import PairCounts
from marco.data.pair_files import PairFiles
from marco.errors import ConfigError, DataError

PAIRS = [
    ("Good morning", "Habari za asubuhi"),
    ('He said "{target}"', "Alisema \\t '{source}'"),
    ("𞤀𞤁𞤂 𐍈 👩🏽‍🌾", "السلام عليكم \u200fورحمة"),
    ("a\u2028b\x0bc\x85d", "na  nafasi mbili"),
]
WHERE = "data.sources.parallel"


def rendered(source: PairFiles) -> tuple[list[Document], PairCounts]:
    source.check(WHERE)
    counts = PairCounts()
    return list(source.documents("parallel", counts)), counts


def pairs_of(source: PairFiles) -> list[dict[str, str]]:
    return list(source.rows(PairCounts()))


def write_tsv(folder: Path, header: bool = True) -> PairFiles:
    lines = [*(["eng\tswh"] if header else []), *("\t".join(pair) for pair in PAIRS)]
    (folder / "pairs.tsv").write_bytes("\n".join(lines).encode())
    return PairFiles(str(folder / "pairs.tsv"), None if header else ["eng", "swh"])


def write_jsonl(folder: Path, pack: Callable[[bytes], bytes], suffix: str) -> PairFiles:
    lines = [json.dumps({"en": one, "Swahili": other, "id": 7}) for one, other in PAIRS]
    (folder / f"pairs.jsonl{suffix}").write_bytes(pack("\n\n".join(lines).encode()))
    return PairFiles(str(folder / f"pairs.jsonl{suffix}"))


def write_sides(folder: Path) -> PairFiles:
    lines = [
        json.dumps(
            {"source": one, "target": other, "source_language": "en", "target_language": "swh"}
        )
        for one, other in PAIRS
    ]
    (folder / "sides.jsonl").write_text("\n".join(lines))
    return PairFiles(str(folder / "sides.jsonl"))


def write_moses(folder: Path) -> PairFiles:
    english = "\r\n".join(one for one, _ in PAIRS).encode()
    (folder / "OPUS.en-sw.en").write_bytes(b"\xef\xbb\xbf" + english + b"\r\n")
    swahili = "\n".join(other for _, other in PAIRS).encode()
    (folder / "OPUS.en-sw.sw.gz").write_bytes(gzip.compress(swahili))
    (folder / "OPUS.en-sw.scores").write_text("0.9\n" * 4)
    return PairFiles(str(folder / "OPUS.en-sw"))


def test_every_format_gives_the_same_documents(tmp_path: Path) -> None:
    sources = [
        write_tsv(tmp_path),
        write_jsonl(tmp_path, lambda raw: raw, ""),
        write_jsonl(tmp_path, gzip.compress, ".gz"),
        write_jsonl(tmp_path, lzma.compress, ".xz"),
        write_sides(tmp_path),
        write_moses(tmp_path),
    ]
    expected = rendered(sources[0])[0]
    assert len(expected) == 4
    for document, pair in zip(expected, PAIRS, strict=True):
        assert all(side in document.text for side in pair)
    assert all(rendered(source)[0] == expected for source in sources[1:])
    (tmp_path / "pairs.tsv").unlink()
    assert rendered(write_tsv(tmp_path, header=False))[0] == expected


def test_a_folder_is_read_as_a_whole(tmp_path: Path) -> None:
    write_tsv(tmp_path)
    write_moses(tmp_path)
    (tmp_path / "README.md").write_text("not a corpus")
    (tmp_path / ".hidden.tsv").write_text("x")
    (tmp_path / "three.jsonl").write_text('{"eng": "a", "yor": "b", "fra": "c"}')
    _, counts = rendered(PairFiles(str(tmp_path)))
    assert counts.rows == 4 + 4 + 1
    assert counts.documents == 5
    assert counts.dropped == {pair_counts.REPEATED: 4, pair_counts.FILES: 2}


def test_more_than_two_languages(tmp_path: Path) -> None:
    (tmp_path / "n.tsv").write_text("eng\tswh\tyor\na\tb\tc\nd\t\te\n")
    documents, counts = rendered(PairFiles(str(tmp_path / "n.tsv"), pairs_per_row=None))
    assert len(documents) == 6 + 2
    assert counts.dropped == {pair_counts.EMPTY: 2}
    for code, text in (("eng", "a"), ("swh", "b"), ("yor", "c")):
        (tmp_path / f"m.{code}").write_text(text)
    assert rendered(PairFiles(str(tmp_path / "m"), pairs_per_row=None))[1].documents == 6
    some = PairFiles(str(tmp_path / "m"), ["yor", "eng"], pairs_per_row=None)
    assert set(rendered(some)[1].directions) == {("eng", "yor"), ("yor", "eng")}


def test_languages_choose_keys_and_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    path.write_text(
        '{"eng": "a", "swh": "b", "score": 0.5}\n{"eng": "c", "yor": "d"}\n{"eng": "e", "sw": null}'
    )
    _, counts = rendered(PairFiles(str(path), ["eng", "swh"]))
    assert counts.documents == 1
    assert counts.dropped == {pair_counts.ALONE: 1, pair_counts.EMPTY: 1}


def test_sides_take_their_languages_from_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"source": "a", "target": "b"}')
    assert pairs_of(PairFiles(str(path), ["swh", "eng"])) == [{"swh": "a", "eng": "b"}]
    with pytest.raises(DataError, match=r's.jsonl, line 1: "source_language" should name'):
        pairs_of(PairFiles(str(path)))


def test_mixed_line_ends_blank_lines_and_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_bytes(b"\xef\xbb\xbfeng\tswh\r\na\tb\rc\td\n\n\t\r\ne\tf")
    _, counts = rendered(PairFiles(str(path)))
    assert (counts.documents, counts.dropped) == (3, {pair_counts.EMPTY: 2})


@given(
    st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]))] * 2))
)
def test_rows_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    lines = ["eng\tyor", *("\t".join(pair) for pair in pairs)]
    (folder / "p.tsv").write_bytes("\r\n".join(lines).encode())
    rows = [{"eng": one, "yor": other} for one, other in pairs]
    assert pairs_of(PairFiles(str(folder / "p.tsv"))) == rows
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert pairs_of(PairFiles(str(folder / "p.jsonl"))) == rows
    for place, code in enumerate(("eng", "yor")):
        lines = [pair[place] + "\n" for pair in pairs]
        (folder / f"m.{code}").write_bytes("".join(lines).encode())
    assert pairs_of(PairFiles(str(folder / "m"))) == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.tsv", "eng\tswh\na\tb\na b\n", r"p.tsv, line 3: 1 columns .*, not 2 \(eng, swh\)"),
        ("p.tsv", "eng\tswh\na\tb\tc\n", "p.tsv, line 2: 3 columns"),
        ("p.tsv", "eng\tswahilli\na\tb\n", "p.tsv, line 1, .*Did you mean 'Swahili'.*languages"),
        ("p.tsv", "eng\ten\na\tb\n", "line 1, .*eng is named twice"),
        ("p.tsv", "eng\na\n", "line 1: one column"),
        ("p.tsv", "", "p.tsv is empty"),
        ("p.jsonl", '{"eng": "a"', "p.jsonl, line 1: not valid JSON"),
        ("p.jsonl", '{"eng": "a", "swh": "b"}\n["a"]', "p.jsonl, line 2: not an object"),
        ("p.jsonl", '{"eng": "a", "swahilli": "b"}', "line 1: .*Did you mean 'Swahili'"),
        ("p.jsonl", '{"eng": "a", "en": "b"}', r"line 1: English \(eng\) is there twice"),
        ("p.jsonl", '{"eng": "a", "swh": 5}', 'line 1: the text of "swh" is 5, not a string'),
        ("p.jsonl", '{"eng": "a", "swh": "\\ud800"}', "line 1: half a surrogate pair"),
        (
            "p.jsonl",
            '{"source": "a", "target": "b", "source_language": "en", "target_language": "swahily"}',
            "line 1: .*Did you mean 'Swahili'",
        ),
        ("p.jsonl", '{"source": "a", "target": "b", "source_language": 3}', "should name a"),
        ("p.jsonl", '{"eng": "a"}\n\n', "no parallel text.*fewer than two"),
    ],
)
def test_bad_text_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        rendered(PairFiles(str(tmp_path / name)))


def test_bad_bytes_are_named(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_bytes(b"eng\tswh\na\t\xff\n")
    with pytest.raises(DataError, match=r"p.tsv, line 2, byte 10: not valid UTF-8"):
        rendered(PairFiles(str(tmp_path / "p.tsv")))


def test_a_header_where_languages_are_given(tmp_path: Path) -> None:
    write_tsv(tmp_path)
    with pytest.raises(DataError, match=r"line 1 is a header \(eng, swh\): set languages to null"):
        rendered(PairFiles(str(tmp_path / "pairs.tsv"), ["swh", "eng"]))


def test_unequal_line_counts_are_told(tmp_path: Path) -> None:
    (tmp_path / "c.en").write_text("a\nb\nc\nd\n")
    (tmp_path / "c.sw.xz").write_bytes(lzma.compress(b"a\nb\n"))
    with pytest.raises(DataError, match=r"c.en has 4, .*c.sw.xz has 2"):
        rendered(PairFiles(str(tmp_path / "c")))


def test_a_language_that_is_nowhere(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"eng": "a", "yor": "b", "swa_x": "c"}')
    with pytest.raises(DataError, match=r"Swahili \(swh\).*eng, yor, swa_x"):
        rendered(PairFiles(str(tmp_path / "p.jsonl"), ["eng", "yor", "swh"]))
    (tmp_path / "m.en").write_text("a")
    (tmp_path / "m.yo").write_text("b")
    with pytest.raises(DataError, match=r"Swahili \(swh\).*m.en, m.yo"):
        PairFiles(str(tmp_path / "m"), ["eng", "yor", "swh"]).check(WHERE)


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "corpus.en").write_text("a")
    (tmp_path / "corpus.en.gz").write_bytes(gzip.compress(b"a"))
    (tmp_path / "lonely.en").write_text("a")
    (tmp_path / "notes").mkdir()

    def message(name: str) -> str:
        with pytest.raises(ConfigError) as caught:
            PairFiles(str(tmp_path / name)).check(WHERE)
        return str(caught.value)

    assert "corpus.en and corpus.en.gz are both eng" in message("corpus")
    assert "lonely.en has no counterpart in another language" in message("lonely")
    assert "it must be a .tsv or .jsonl file" in message("corpus.en")
    assert f"{WHERE}.path={tmp_path}/notes: no parallel text there" in message("notes")
    assert "Did you mean 'corpus.en'?" in message("corpuz.en")
    assert "no parallel text there" in message("away/from/here")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"languages": ["eng"]}, f"{WHERE}.languages=.*two languages"),
        ({"languages": ["eng", "swahilli"]}, f"{WHERE}.languages: .*'Swahili'"),
        ({"max_line_megabytes": 0}, f"{WHERE}.max_line_megabytes=0"),
        ({"directions": {"eng-yor": 1.0}}, f"{WHERE}.directions.eng-yor: there are no pairs"),
        ({"directions": {"swh-yor": 1.0}, "languages": ["eng", "swh"]}, "there are no pairs"),
    ],
)
def test_wrong_settings(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    write_tsv(tmp_path)
    with pytest.raises(ConfigError, match=message):
        PairFiles(str(tmp_path / "pairs.tsv"), **wrong).check(WHERE)  # type: ignore[arg-type]


def test_it_binds(tmp_path: Path) -> None:
    write_moses(tmp_path)
    node = {
        "_target_": "marco.data.pair_files.PairFiles",
        "path": str(tmp_path / "OPUS.en-sw"),
        "directions": "english_centric",
        "names": "both",
        "max_length_ratio": 9,
    }
    assert rendered(bind(node, WHERE))[1].documents == 4
    with pytest.raises(ConfigError, match="names should be one of 'english', 'native', 'both'"):
        bind({**node, "names": "own"}, WHERE)


def test_the_content_key_follows_the_bytes_and_not_the_place(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, second = write_tsv(tmp_path / "a"), write_tsv(tmp_path / "b")
    assert first.content_key() == second.content_key()
    with (tmp_path / "b" / "pairs.tsv").open("ab") as file:
        file.write(b"\nx\ty")
    assert first.content_key() != second.content_key()
    keys = {write_moses(tmp_path / "a").content_key(), write_sides(tmp_path / "a").content_key()}
    assert len(keys | {first.content_key()}) == 3


def test_order_of_lines_and_swapped_columns_change_nothing(tmp_path: Path) -> None:
    forward = "\n".join(f"a {n}\tb {n}" for n in range(50))
    backward = "\n".join(f"b {n}\ta {n}" for n in reversed(range(50)))
    (tmp_path / "f.tsv").write_text(f"eng\tswh\n{forward}")
    (tmp_path / "b.tsv").write_text(f"swh\teng\n{backward}")
    documents = [rendered(PairFiles(str(tmp_path / name)))[0] for name in ("f.tsv", "b.tsv")]
    assert documents[0] == documents[1][::-1]
