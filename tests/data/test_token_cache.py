"""Tokenised once, mapped afterwards; whole or not at all; never in the way of a run."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marco.data import Corpus, Document
from marco.data.stores import MemoryStore, Source
from marco.data.token_cache import content_hash, tokenised
from marco.data.token_entry import Entry
from marco.data.token_file import TokenFile, TokenWriter
from marco.errors import DataError
from marco.tokenizers import Tokenizer
from marco.tokenizers.embedded import EmbeddedTokenizer

TEXTS = [f"habari ya dunia {n} " * 200 for n in range(600)]  # 2.2 MB, several batches


def documents(texts: list[str] = TEXTS) -> list[Document]:
    return [Document(text, "swh", "test", str(n)) for n, text in enumerate(texts)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return EmbeddedTokenizer(300).load(Corpus({"swh": documents(TEXTS[:20])}, {}))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokens"


def expected(tokenizer: Tokenizer, texts: list[str] = TEXTS) -> tuple[list[int], list[int]]:
    ids = [[*piece, tokenizer.end_of_text] for piece in tokenizer.encode_batch(texts)]
    return [i for piece in ids for i in piece], np.cumsum([len(piece) for piece in ids]).tolist()


def check(source: Source, tokenizer: Tokenizer, texts: list[str] = TEXTS) -> None:
    tokens, ends = expected(tokenizer, texts)
    assert (source.name, source.language, source.end_of_text) == (
        "swahili",
        "swh",
        tokenizer.end_of_text,
    )
    assert len(source.store) == len(tokens)
    assert source.store.documents == len(texts)
    read = source.store.read(0, len(tokens))
    assert read.dtype == np.int32
    assert read.tolist() == tokens
    assert source.store.read(3, 10).tolist() == tokens[3:10]
    found = source.store.ends(0, len(texts))
    assert found.dtype == np.int64
    assert found.tolist() == ends
    assert source.store.mask(0, 5) is None
    assert source.text_bytes == sum(len(text.encode()) for text in texts)


def never() -> Iterator[Document]:
    pytest.fail("the text was read again")
    yield


def open_(tokenizer: Tokenizer, given: Any = None, key: str = "k", small: int = 1000) -> Source:
    given = documents() if given is None else given
    return tokenised("swahili", "swh", given, key, tokenizer, small=small)


def test_tokenised_once_and_then_mapped(tokenizer: Tokenizer, cache: Path) -> None:
    check(open_(tokenizer), tokenizer)
    again = open_(tokenizer, never())
    assert isinstance(again.store, TokenFile)
    check(again, tokenizer)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [
        Entry("k", tokenizer).folder.name
    ]


def test_another_text_or_tokenizer_is_another_entry(tokenizer: Tokenizer) -> None:
    open_(tokenizer)
    other = EmbeddedTokenizer(290).load(Corpus({"swh": documents(TEXTS[:20])}, {}))
    check(open_(other), other)
    check(open_(tokenizer, documents(TEXTS[:50]), key="l"), tokenizer, TEXTS[:50])
    check(open_(tokenizer, never()), tokenizer)


def test_small_texts_never_touch_the_disk(tokenizer: Tokenizer, cache: Path) -> None:
    source = open_(tokenizer, documents(TEXTS[:5]), small=1_000_000)
    assert isinstance(source.store, MemoryStore)
    check(source, tokenizer, TEXTS[:5])
    assert not cache.exists()


def test_no_documents(tokenizer: Tokenizer) -> None:
    source = open_(tokenizer, [])
    assert (len(source.store), source.store.documents, source.text_bytes) == (0, 0, 0)


def test_the_store_is_cheap_to_pickle(tokenizer: Tokenizer) -> None:
    source = open_(tokenizer)
    source.store.read(0, 10)
    pickled = pickle.dumps(source)
    assert len(pickled) < 2000
    check(pickle.loads(pickled), tokenizer)


def cut(folder: Path) -> None:
    with (folder / "tokens.ds").open("r+b") as file:
        file.truncate(100)


def cut_index(folder: Path) -> None:
    with (folder / "tokens.ds.index").open("r+b") as file:
        file.truncate(8)


def other_index(folder: Path) -> None:
    path = folder / "tokens.ds.index"
    path.write_bytes(bytes(path.stat().st_size))


def no_tokens(folder: Path) -> None:
    (folder / "tokens.ds").unlink()


def no_numbers(folder: Path) -> None:
    (folder / "marco.json").write_text('{"tokens": ')


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("damage", [cut, cut_index, other_index, no_tokens, no_numbers, empty])
def test_a_damaged_entry_is_made_again(tokenizer: Tokenizer, damage: Any) -> None:
    open_(tokenizer)
    damage(Entry("k", tokenizer).folder)
    check(open_(tokenizer), tokenizer)
    check(open_(tokenizer, never()), tokenizer)


def test_a_file_that_is_cut_while_it_is_used(tokenizer: Tokenizer) -> None:
    source = open_(tokenizer)
    copy = pickle.loads(pickle.dumps(source))
    cut(Entry("k", tokenizer).folder)
    with pytest.raises(DataError, match=r"tokens\.ds has 100 bytes"):
        copy.store.read(0, 1)


def test_a_cache_that_cannot_be_written(
    tokenizer: Tokenizer, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    source = open_(tokenizer)
    assert isinstance(source.store, MemoryStore)
    check(source, tokenizer)
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "'swahili' stays in memory" in line.getMessage()


@pytest.mark.parametrize("fails_at", [1, 2, "commit"])
def test_a_disk_that_is_full(
    tokenizer: Tokenizer,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fails_at: int | str,
) -> None:
    calls = 0
    append = TokenWriter.append

    def full(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if fails_at in (calls, "commit") and (fails_at != "commit" or len(arguments) == 1):
            raise OSError(errno.ENOSPC, "No space left on device")
        if len(arguments) == 3:
            append(*arguments)

    monkeypatch.setattr(TokenWriter, "finish" if fails_at == "commit" else "append", full)
    source = open_(tokenizer)
    assert calls > 0
    assert isinstance(source.store, MemoryStore)
    check(source, tokenizer)
    assert sum("No space left on device" in line for line in caplog.messages) == 1
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_text_that_cannot_be_read_leaves_nothing(tokenizer: Tokenizer, cache: Path) -> None:
    def broken() -> Iterator[Document]:
        yield from documents()
        raise DataError("line 7")

    with pytest.raises(DataError, match="line 7"):
        open_(tokenizer, broken())
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    check(open_(tokenizer), tokenizer)


def test_what_a_killed_process_left_is_removed(tokenizer: Tokenizer, cache: Path) -> None:
    entry = Entry("k", tokenizer)
    left = cache / f".{entry.folder.name}.dead"
    left.mkdir(parents=True)
    open_(tokenizer)
    assert not left.exists()


def in_a_process(tokenizer: Tokenizer, start: Any, results: Any) -> None:
    read = 0

    def counted() -> Iterator[Document]:
        nonlocal read
        for document in documents():
            read += 1
            yield document

    start.wait()
    source = open_(tokenizer, counted())
    results.put((read, source.store.read(0, len(source.store)).tolist()))


def test_two_processes_at_once(tokenizer: Tokenizer) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=in_a_process, args=(tokenizer, start, results)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert [tokens for _, tokens in found] == [expected(tokenizer)[0]] * 2
    assert len(TEXTS) in [read for read, _ in found]


@pytest.mark.parametrize("vocabulary", [300, 65_536, 65_537])
def test_datatrove_reads_it(tmp_path: Path, vocabulary: int) -> None:
    from datatrove.pipeline.tokens.merger import load_doc_ends
    from datatrove.utils.dataset import DatatroveFileDataset

    writer = TokenWriter(tmp_path / "t.ds", vocabulary, "mine")
    writer.append(np.arange(10, dtype=np.int32), np.array([4, 10]))
    writer.append(np.array([7, vocabulary - 1], np.int32), np.array([2]))
    writer.finish()
    size = 2 if vocabulary <= 65_536 else 4
    rows = DatatroveFileDataset(str(tmp_path / "t.ds"), seq_len=5, token_size=size)
    assert [rows[n]["input_ids"].tolist() for n in range(len(rows))] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7, 8, 9, 7, vocabulary - 1],
    ]
    with (tmp_path / "t.ds.index").open("rb") as file:
        assert load_doc_ends(file).tolist() == [4, 10, 12]
    name, total = (tmp_path / "t.ds.metadata").read_text().splitlines()[:2]
    assert (name, total) == (f"mine|{size}", "12")


def test_content_hash() -> None:
    one = content_hash(documents(["ab", "c"]))
    assert one == content_hash(iter(documents(["ab", "c"])))
    assert (
        len({one, content_hash(documents(["a", "bc"])), content_hash(documents(["c", "ab"]))}) == 3
    )
