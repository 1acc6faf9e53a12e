"""Text files as a source: read once, known again by their bytes, drops counted."""

from __future__ import annotations

import gzip
import json
import logging
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marco.data import Corpus
from marco.data import text_source as module
from marco.data.text_source import TextSource
from marco.errors import ConfigError, DataError
from marco.tokenizers import Tokenizer
from marco.tokenizers.qwen2 import QwenTokenizer

WHERE = "data.sources.swh"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return QwenTokenizer().load(Corpus({}, {}))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def texts(source: TextSource, tokenizer: Tokenizer) -> list[str]:
    opened = source.open("swh", "swh", tokenizer)
    assert (opened.name, opened.language) == ("swh", "swh")
    tokens = opened.store.read(0, len(opened.store)).tolist()
    starts = [0, *opened.store.ends(0, opened.store.documents).tolist()]
    assert all(tokens[end - 1] == tokenizer.end_of_text for end in starts[1:])
    return [tokenizer.decode(tokens[a : b - 1]) for a, b in pairwise(starts)]


def lines(path: Path, *entries: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_every_format_in_the_order_given(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "b.txt").write_bytes("\ufefftanu\r\nsita\r\n\r\n\nsaba e\u0301".encode())
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "moja"}\n{"text": "mbili"}'))
    pq.write_table(pa.table({"text": ["tatu", None, "nne"]}), tmp_path / "z.parquet")
    source = TextSource(
        [str(tmp_path / "z.parquet"), f"{tmp_path}/*.jsonl.gz", f"{tmp_path}/b.txt"]
    )
    source.check(WHERE)
    assert texts(source, tokenizer) == ["tatu", "nne", "moja", "mbili", "tanu\nsita", "saba \u00e9"]


def test_drops_and_double_ids_are_counted(
    tmp_path: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    path = lines(
        tmp_path / "x.jsonl",
        {"text": "habari", "id": "1"},
        {"text": "", "id": "2"},
        {"text": "dunia", "id": "1"},
        {"text": "ab"},
    )
    with caplog.at_level(logging.WARNING):
        assert texts(TextSource(str(path), min_characters=3), tokenizer) == ["habari", "dunia"]
    assert f"{WHERE}: 2 documents dropped, shorter than min_characters=3." in caplog.messages
    assert f"{WHERE}: 1 documents have an id that an earlier one has." in caplog.messages


def test_it_is_read_once_and_again_when_it_changed(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from marco.data import token_cache

    path = lines(tmp_path / "x.jsonl", {"text": "habari " * 500})
    source = TextSource(str(path))
    small = token_cache.tokenised.__defaults__
    monkeypatch.setattr(token_cache.tokenised, "__defaults__", (None, 10))
    assert small == (None, token_cache.SMALL)
    first = texts(source, tokenizer)
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_texts", lambda *_: pytest.fail("read again"))
        patch.setattr(module.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
        assert texts(source, tokenizer) == first
    lines(path, {"text": "dunia " * 500})
    assert texts(source, tokenizer) != first


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("swahili.jsnl", r"swahili\.jsnl: there is no such file\. Did you mean 'swahili\.jsonl'"),
        ("*.nothing", "there is no such file"),
        ("folder", r"is a folder: name its files, such as .*folder/\*\.jsonl"),
        ("swahili.csv", r"swahili\.csv ends in none of \.jsonl, "),
        ("swahili.parquet.gz", "ends in none of"),
    ],
)
def test_paths_that_are_wrong(tmp_path: Path, path: str, message: str) -> None:
    for name in ("swahili.jsonl", "swahili.csv", "swahili.parquet.gz"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=message) as error:
        TextSource(str(tmp_path / path)).check(WHERE)
    assert str(error.value).startswith(f"{WHERE}.path")


def test_settings_that_are_wrong(tmp_path: Path) -> None:
    path = str(lines(tmp_path / "x.jsonl", {"text": "x"}))
    with pytest.raises(ConfigError, match=rf"{WHERE}.path is empty"):
        TextSource([]).check(WHERE)
    with pytest.raises(ConfigError, match=rf"{WHERE}.min_characters=0: at least 1"):
        TextSource(path, min_characters=0).check(WHERE)
    with pytest.raises(ConfigError, match="swahilli"):
        TextSource(path, language="swahilli").check(WHERE)


def test_files_without_text(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "x.txt").touch()
    with pytest.raises(DataError, match=r"x\.txt is empty \(0 bytes\)"):
        TextSource(str(tmp_path / "x.txt")).check(WHERE)
    (tmp_path / "x.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"no documents of at least 1 characters in .*x\.txt"):
        TextSource(str(tmp_path / "x.txt")).open("swh", "swh", tokenizer)
