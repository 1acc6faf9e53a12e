"""The index on the disk: what is in it is found, nothing else is; it is whole or not there."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from marco.data.udhr import read_declarations
from marco.errors import ConfigError, DataError
from marco.evaluation.contamination.ngram_index import NgramIndex, build_index
from marco.evaluation.contamination.ngrams import Lengths, hash_ngrams
from marco.evaluation.contamination.overlap import look_up, overlap


def made_up(seed: int, count: int = 200) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(f"w{draw.randrange(500)}" for _ in range(40)) for _ in range(count)]


@pytest.mark.parametrize("batch", [1 << 20, 300])
def test_it_holds_the_set_of_all_hashes(batch: int, tmp_path: Path) -> None:
    texts = [*made_up(0), *made_up(0, 50), "too short"]
    index = build_index(texts, tmp_path / "index", source="made up", words=5, batch=batch)
    wanted = sorted(set(hash_ngrams(texts, Lengths.of(5)).hashes.tolist()))
    assert index.hashes.tolist() == wanted
    made = index.manifest
    assert (made.count, made.documents, made.source) == (len(wanted), 251, "made up")
    assert made.ngrams == 250 * 36
    assert made.bytes == sum(len(text) for text in texts)
    files = sorted(path.name for path in index.folder.iterdir())
    assert files == ["manifest.json", "ngrams.u64"]


def test_planted_sentences_are_found_and_others_not(tmp_path: Path) -> None:
    """Half of the articles of every kind of script are in the corpus."""
    codes = ["eng", "swh", "cmn", "jpn", "tha", "mya", "bod", "arb"]
    declarations = read_declarations(codes)
    inside = [declarations[code][number] for code in codes for number in range(1, 26, 2)]
    corpus = [f"Before that, {text.upper()} And after." for text in inside]
    index = build_index([*made_up(1), *corpus], tmp_path / "index", source="planted")
    items = [(code, declarations[code][number]) for code in codes for number in range(1, 26, 2)]
    rows = overlap("planted", items, index)
    assert len(rows) == 2 * len(codes)
    for row in rows:
        assert row.value == 1.0, row
        assert row.n >= 8
    outside = [(code, text) for code in codes for text in declarations[code][28].split("\n")]
    for row in overlap("planted", outside, index):
        assert row.value in (0.0, None), row


def test_shares_are_those_of_sets(tmp_path: Path) -> None:
    corpus, unseen = made_up(2, 20), made_up(3, 20)
    mixed = [f"{one[:120]} {other}" for one, other in zip(corpus, unseen, strict=True)]
    index = build_index(corpus, tmp_path / "index", source="x", words=5)
    known = {gram for text in corpus for gram in grams(text)}
    for text, found in zip(mixed, look_up(mixed, index), strict=True):
        assert found == (sum(gram in known for gram in grams(text)), len(grams(text)))
        assert 0 < found[0] < found[1]
    share, ngrams = overlap("x", [("swh", text) for text in [*mixed, *unseen, "short"]], index)
    assert (share.metric, share.value, share.n) == ("overlap", 0.5, 40)
    total = [(sum(gram in known for gram in grams(t)), len(grams(t))) for t in [*mixed, *unseen]]
    hit, every = (sum(column) for column in zip(*total, strict=True))
    assert (ngrams.metric, ngrams.value) == ("overlap_ngrams", pytest.approx(hit / every))
    assert ngrams.low is not None
    assert ngrams.low < hit / every


def grams(text: str) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[at : at + 5]) for at in range(len(words) - 4)]


def test_short_items_are_unmeasured(tmp_path: Path) -> None:
    index = build_index(made_up(0, 3), tmp_path / "index", source="x")
    for row in overlap("x", [("eng", "yes"), ("eng", "no")], index):
        assert (row.value, row.n) == (None, 0)
        assert row.reason == "every item is shorter than an n-gram"


def test_an_empty_corpus(tmp_path: Path) -> None:
    index = build_index([], tmp_path / "index", source="nothing")
    assert index.manifest.count == 0
    assert not index.contains(np.arange(3, dtype=np.uint64)).any()


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield from made_up(0)
        raise DataError("a broken file")

    with pytest.raises(DataError, match="a broken file"):
        build_index(broken(), tmp_path / "index", source="x", batch=100)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "index").mkdir()
    with pytest.raises(ConfigError, match="exists"):
        build_index([], tmp_path / "index", source="x")
    with pytest.raises(ConfigError, match="words=0"):
        build_index([], tmp_path / "other", source="x", words=0)


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no n-gram index"):
        NgramIndex(tmp_path)
    index = build_index(made_up(0, 3), tmp_path / "index", source="x")
    manifest = index.folder / "manifest.json"
    whole = manifest.read_text()
    fields = json.loads(whole)
    for wrong, message in (
        ({"normalisation": "none"}, "another version"),
        ({"characters": [1, 2]}, "is damaged"),
        ({"surprise": 1}, "is not an n-gram index's manifest"),
    ):
        manifest.write_text(json.dumps(fields | wrong))
        with pytest.raises(DataError, match=message):
            NgramIndex(index.folder)
    manifest.write_text(whole)
    (index.folder / "ngrams.u64").write_bytes(b"1234")
    with pytest.raises(DataError, match="4 bytes"):
        NgramIndex(index.folder)
    (index.folder / "ngrams.u64").unlink()
    with pytest.raises(DataError, match="is not there"):
        NgramIndex(index.folder)
