"""A user's folder of text files, and everything that can be wrong with one."""

from __future__ import annotations

import gzip
import json
import lzma
import time
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.data import Corpus, Document
from marco.data.files import TextFiles
from marco.data.held_out import split_by_hash
from marco.errors import ConfigError, DataError

SENTENCES = [f"Sentensi namba {number}." for number in range(200)]


def jsonl(path: Path, texts: list[str], **fields: Any) -> None:
    lines = [json.dumps({"text": text, **fields}, ensure_ascii=False) for text in texts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def load(folder: Path, **settings: Any) -> Corpus:
    return TextFiles(str(folder), **settings).load()


def texts(documents: list[Document]) -> list[str]:
    return [document.text for document in documents]


def all_texts(corpus: Corpus, code: str) -> set[str]:
    return {*texts(corpus.train[code]), *texts(corpus.held_out[code])}


def test_every_format_gives_the_same_split(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("jsonl", "txt", "parquet", "gz", "xz")}
    for folder in folders.values():
        folder.mkdir()
    jsonl(folders["jsonl"] / "swh.jsonl", SENTENCES)
    plain = "\n\n".join(SENTENCES)
    (folders["txt"] / "sw.txt").write_text(plain, encoding="utf-8")
    pq.write_table(
        pa.table({"text": SENTENCES, "url": SENTENCES}),
        folders["parquet"] / "Swahili.parquet",
        row_group_size=64,
    )
    (folders["gz"] / "swh.part-1.txt.gz").write_bytes(gzip.compress(plain.encode(), mtime=0))
    (folders["xz"] / "swh_Latn.txt.xz").write_bytes(lzma.compress(plain.encode()))
    splits = {
        name: (texts(corpus.train["swh"]), texts(corpus.held_out["swh"]))
        for name, folder in folders.items()
        for corpus in [load(folder, held_out_fraction=0.1)]
    }
    train, held_out = splits["jsonl"]
    assert sorted(train + held_out) == sorted(SENTENCES)
    assert 8 <= len(held_out) <= 32  # 10 % of 200, by hash
    assert all(split == splits["jsonl"] for split in splits.values())


def test_sources_and_ids(tmp_path: Path) -> None:
    lines = ['{"text": "moja", "id": "a"}', "", '{"text": "mbili", "id": 7}', '{"text": "tatu"}']
    (tmp_path / "swh.jsonl").write_text("\n".join(lines))
    corpus = load(tmp_path)
    documents = corpus.train["swh"] + corpus.held_out["swh"]
    assert {(d.text, d.id) for d in documents} == {
        ("moja", "a"),
        ("mbili", "7"),
        ("tatu", "swh.jsonl:4"),
    }
    assert {(d.source, d.language, d.parallel_id) for d in documents} == {
        ("swh.jsonl", "swh", None)
    }


def test_parquet_ids_nulls_and_dictionaries(tmp_path: Path) -> None:
    column = pa.array(["moja", None, "mbili", "moja tena"]).dictionary_encode()
    pq.write_table(pa.table({"id": [1, 2, 3, 4], "text": column}), tmp_path / "swh.parquet")
    corpus = load(tmp_path)
    documents = corpus.train["swh"] + corpus.held_out["swh"]
    assert {(d.id, d.text) for d in documents} == {
        ("1", "moja"),
        ("3", "mbili"),
        ("4", "moja tena"),
    }
    assert corpus.notes == ["swh.parquet: 1 dropped, shorter than data.min_characters=1"]


def test_txt_documents_are_separated_by_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "eng.txt").write_bytes(
        b"\xef\xbb\xbf\r\none\r\nstill one\r\n \t\r\n\r\ntwo\rstill two\n\n\n\nthree"
    )
    corpus = load(tmp_path)
    assert all_texts(corpus, "eng") == {"one\nstill one", "two\nstill two", "three"}


def test_jsonl_with_mark_and_mixed_line_ends(tmp_path: Path) -> None:
    (tmp_path / "eng.jsonl").write_bytes(
        b'\xef\xbb\xbf{"text": "one"}\r\n{"text": "two"}\r{"text": "three\\nlines"}\n'
    )
    assert all_texts(load(tmp_path), "eng") == {"one", "two", "three\nlines"}


def test_line_ends_at_chunk_borders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marco.data.text_files._CHUNK", 4)
    (tmp_path / "eng.txt").write_bytes(b"abc\r\ndef\r\n\r\nghi\r\r\njk\r\r\r")
    assert all_texts(load(tmp_path), "eng") == {"abc\ndef", "ghi", "jk"}


def test_text_is_nfc(tmp_path: Path) -> None:
    names = ["Ọ̀gẹ̀dẹ̀", "Ajá", "Ọkọ̀"]
    jsonl(tmp_path / "yor.jsonl", [unicodedata.normalize("NFD", name) for name in names])
    assert all_texts(load(tmp_path), "yor") == {unicodedata.normalize("NFC", n) for n in names}


def test_copies_never_straddle_the_split(tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    jsonl(folder / "swh.jsonl", SENTENCES + SENTENCES[:50])
    jsonl(folder / "yor.jsonl", [*SENTENCES[:100], "yorùbá"])
    corpus = load(folder, held_out_fraction=0.2)
    held_out = {text for documents in corpus.held_out.values() for text in texts(documents)}
    trained = {text for documents in corpus.train.values() for text in texts(documents)}
    assert held_out
    assert not held_out & trained
    assert len(corpus.held_out["swh"]) == len(set(texts(corpus.held_out["swh"])))
    dropped = 250 - len(corpus.train["swh"]) - len(corpus.held_out["swh"])
    assert f"swh: {dropped} copies of held-out documents dropped" in corpus.notes


def test_split_does_not_depend_on_the_order_of_lines_or_files(tmp_path: Path) -> None:
    together, apart = tmp_path / "together", tmp_path / "apart"
    together.mkdir()
    apart.mkdir()
    jsonl(together / "swh.jsonl", SENTENCES)
    jsonl(apart / "swh.2.jsonl", SENTENCES[:80], id="x")
    jsonl(apart / "swh.1.jsonl", SENTENCES[80:][::-1])
    first, second = load(together), load(apart)
    assert set(texts(first.held_out["swh"])) == set(texts(second.held_out["swh"]))
    assert load(together).fingerprint() == first.fingerprint()


words = st.text("abc", min_size=1, max_size=3)


@given(
    st.dictionaries(st.sampled_from(["swh", "yor", "eng"]), st.lists(words, max_size=30)),
    st.floats(0.01, 0.99),
    st.integers(1, 3),
    st.integers(3, 5),
)
def test_split_properties(
    written: dict[str, list[str]], fraction: float, minimum: int, maximum: int
) -> None:
    documents = {
        code: [Document(text, code, "t", str(index)) for index, text in enumerate(entries)]
        for code, entries in written.items()
    }
    different = {code: len(set(entries)) for code, entries in written.items()}
    if min(different.values(), default=9) <= minimum:
        with pytest.raises(DataError, match="too few to hold out"):
            split_by_hash(documents, fraction, minimum, maximum)
        return
    for code in written:  # enough that no language can hold out all of another's texts
        documents[code] += [Document(f"{code}{n}", code, "t", f"+{n}") for n in range(6)]
        written[code] += [f"{code}{n}" for n in range(6)]
    corpus = split_by_hash(documents, fraction, minimum, maximum)
    held_out = {text for entries in corpus.held_out.values() for text in texts(entries)}
    for code in written:
        assert minimum <= len(corpus.held_out[code]) <= maximum
        assert corpus.train[code]
        assert not held_out & set(texts(corpus.train[code]))
        assert set(texts(corpus.train[code])) | held_out >= set(written[code])


def test_min_and_max_held_out(tmp_path: Path) -> None:
    jsonl(tmp_path / "swh.jsonl", SENTENCES)
    assert len(load(tmp_path, held_out_fraction=1e-9).held_out["swh"]) == 1
    assert len(load(tmp_path, held_out_fraction=1e-9, min_held_out=7).held_out["swh"]) == 7
    many = load(tmp_path, held_out_fraction=0.9, max_held_out=5)
    assert (len(many.train["swh"]), len(many.held_out["swh"])) == (195, 5)


def test_languages_are_chosen_and_ordered(tmp_path: Path) -> None:
    for name in ("yor.txt", "eng.txt", "swh.txt", "no-language.txt", "README.md"):
        (tmp_path / name).write_text("moja\n\nmbili\n\ntatu")
    settings = TextFiles(str(tmp_path), languages=["yo", "en"])
    settings.check()
    assert settings.language_codes() == ["yor", "eng"]
    assert list(settings.load().train) == ["yor", "eng"]
    with pytest.raises(ConfigError, match=r"no-language.txt names no language"):
        TextFiles(str(tmp_path)).check()
    (tmp_path / "no-language.txt").unlink()
    assert TextFiles(str(tmp_path)).language_codes() == ["eng", "swh", "yor"]


def test_missing_folder_and_missing_file(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(ConfigError, match=r"corpora does not exist. Did you mean 'corpus'"):
        TextFiles(str(tmp_path / "corpora")).check()
    with pytest.raises(ConfigError, match="no texts there"):
        TextFiles(str(tmp_path / "corpus")).check()
    jsonl(tmp_path / "corpus" / "swe.jsonl", ["moja"])
    with pytest.raises(ConfigError, match=r"no file for Swahili \(swh\).*Did you mean 'swe.jsonl'"):
        TextFiles(str(tmp_path / "corpus"), languages=["swh"]).check()
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        TextFiles(str(tmp_path / "corpus" / "swe.jsonl")).check()


@pytest.mark.parametrize(
    ("name", "message"), [("swq.jsonl", "Did you mean 'sw"), ("germn.txt", "'German'")]
)
def test_unknown_language_in_a_file_name(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_text("moja")
    with pytest.raises(ConfigError, match=f"{name} names no language.*{message}"):
        TextFiles(str(tmp_path)).check()


@pytest.mark.parametrize("name", ["swh.jsonl", "swh.txt", "swh.parquet"])
def test_empty_file_is_found_by_check(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=rf"{name} is empty \(0 bytes\)"):
        TextFiles(str(tmp_path)).check()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("eng.txt", b"\n \n\n", "eng.txt: no documents of at least 1 characters"),
        ("eng.jsonl", b'{"text": ""}\n', "no documents.*; 1 shorter"),
        ("eng.txt", b"one\n\ntw\xffo\n", r"eng.txt, line 3, byte 7: not valid UTF-8"),
        ("eng.txt", b"\xef\xbb\xbfone\r\n\r\n\xc3(", r"line 3, byte 10: not valid UTF-8"),
        ("eng.jsonl", b'{"text": "one"}\n{"text": "\xe2\x82"}', r"line 2, byte 26: not valid"),
        ("eng.txt", "one".encode("utf-16"), "eng.txt is UTF-16: convert it"),
        ("eng.jsonl", b'{"text": "one"}\n{"text": "two"', "eng.jsonl, line 2: not valid JSON"),
        ("eng.jsonl", b"[" * 200_000, "line 1: not valid JSON"),
        ("eng.jsonl", b'["one"]', "line 1: not an object"),
        ("eng.jsonl", b'{"body": "one", "url": ""}', r'"text".*is missing \(keys here: body, url'),
        ("eng.jsonl", b'{"text": null}', '"text", a string, is None'),
        ("eng.jsonl", b'{"text": ["one"]}', r"is \['one'\]"),
        ("eng.jsonl", b'{"text": "one", "id": [1]}', '"id" must be a string or a whole number'),
        ("eng.jsonl", b'{"text": "a \\ud83d b"}', "line 1: half a surrogate pair at character 2"),
        ("eng.jsonl.gz", b"not packed", "eng.jsonl.gz cannot be read"),
        ("eng.txt.gz", gzip.compress(b"one\n" * 999, mtime=0)[:-20], "eng.txt.gz cannot be read"),
        ("eng.txt.xz", b"not packed", "eng.txt.xz cannot be read"),
        ("eng.parquet", b"not parquet", "eng.parquet: not a readable Parquet file"),
        ("eng.txt", b"one", "eng has 1 documents, 1 of them different: too few to hold out 1"),
        ("eng.txt", b"one\n\none\n\none", "eng has 3 documents, 1 of them different"),
    ],
)
def test_bad_content(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    TextFiles(str(tmp_path)).check()
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(tmp_path / "eng.jsonl", SENTENCES)

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"eng\.jsonl cannot be read: Permission denied"):
        load(tmp_path)


def test_bad_parquet_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["one"]}), tmp_path / "eng.parquet")
    with pytest.raises(DataError, match=r"no column 'text' \(columns here: body\)"):
        load(tmp_path)
    pq.write_table(pa.table({"text": [1]}), tmp_path / "eng.parquet")
    with pytest.raises(DataError, match="column 'text' holds int64"):
        load(tmp_path)
    wrong = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffb")]
    )
    pq.write_table(pa.table({"text": wrong}), tmp_path / "eng.parquet")
    with pytest.raises(DataError, match="row 1: not valid UTF-8 at byte 1"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["swh.jsonl", "swh.txt"])
def test_a_50_mb_line_is_refused_quickly_and_in_little_memory(tmp_path: Path, name: str) -> None:
    jsonl(tmp_path / name, ["moja"])
    with (tmp_path / name).open("ab") as file:
        for _ in range(50):
            file.write(b"a" * 1_000_000)
    start = time.process_time()
    tracemalloc.start()
    message = r"line 2 is longer than 16 MB.*raise data.max_line_megabytes"
    with pytest.raises(DataError, match=message):
        load(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
    assert time.process_time() - start < 5


def test_other_texts_over_the_limit(tmp_path: Path) -> None:
    (tmp_path / "swh.txt").write_bytes(b"moja\n\n" + b"maneno mengi\n" * 100_000)
    with pytest.raises(DataError, match=r"the document at line 3 is longer than 1 MB \(blank"):
        load(tmp_path, max_line_megabytes=1)
    assert len(load(tmp_path, max_line_megabytes=2).train["swh"]) == 1
    (tmp_path / "swh.txt").unlink()
    pq.write_table(pa.table({"text": ["moja", "a" * 1_100_000]}), tmp_path / "swh.parquet")
    with pytest.raises(DataError, match="a text after row 0 is longer than 1 MB"):
        load(tmp_path, max_line_megabytes=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"held_out_fraction": 0.0},
        {"held_out_fraction": 1.0},
        {"min_held_out": 0},
        {"max_held_out": 0},
        {"min_characters": 0},
        {"max_line_megabytes": 0},
    ],
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"data.{next(iter(wrong))}="):
        TextFiles("folder", **wrong)
