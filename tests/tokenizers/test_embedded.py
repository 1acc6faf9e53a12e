"""The tokenizer trained on the training split, and its cache."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from marco.data import Corpus
from marco.errors import ConfigError
from marco.tokenizers import Tokenizer
from marco.tokenizers.embedded import EmbeddedTokenizer

SETTINGS = EmbeddedTokenizer(500)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MARCO_CACHE", str(folder))
    return folder


def test_size_and_end_of_text(embedded: Tokenizer) -> None:
    assert embedded.name == "embedded-1000"
    assert len(embedded) == 1000
    assert embedded.end_of_text == 999
    for unseen in ("\U0001f34c", "ꦲ", "\x00"):  # not in the corpus: single bytes, never unknown
        assert embedded.decode(embedded.encode(unseen)) == unseen


def test_it_learned_the_training_text(embedded: Tokenizer, corpus: Corpus) -> None:
    for code in ("eng", "amh"):
        text = corpus.held_out[code][0].text
        assert len(embedded.encode(text)) < 0.6 * len(text.encode())


def test_it_depends_on_the_training_split_alone(corpus: Corpus, own_cache: Path) -> None:
    first = SETTINGS.load(corpus)
    same = SETTINGS.load(Corpus(corpus.train, {}, ["another note"]))
    assert same.fingerprint == first.fingerprint
    assert len(list(own_cache.iterdir())) == 1
    less = Corpus({**corpus.train, "eng": []}, corpus.held_out)
    assert SETTINGS.load(less).fingerprint != first.fingerprint
    assert len(EmbeddedTokenizer(501).load(corpus)) == 501
    assert len(list(own_cache.iterdir())) == 3


def test_two_processes_train_the_same(tmp_path: Path) -> None:
    program = (
        "from marco.data.udhr import Udhr\n"
        "from marco.tokenizers.embedded import EmbeddedTokenizer\n"
        "corpus = Udhr(['eng', 'cmn', 'yor', 'tha']).load()\n"
        "print(EmbeddedTokenizer(2000).load(corpus).fingerprint)"
    )
    found = set()
    for seed in ("1", "2"):
        environment = {
            **os.environ,
            "MARCO_CACHE": str(tmp_path / seed),  # so that the second one trains too
            "PYTHONHASHSEED": seed,
            "RAYON_NUM_THREADS": seed,
        }
        found.add(subprocess.check_output([sys.executable, "-c", program], env=environment))
    assert len(found) == 1


def test_the_cache_is_used(
    corpus: Corpus, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = SETTINGS.load(corpus)

    def refuse(settings: EmbeddedTokenizer, corpus: Corpus) -> str:
        raise AssertionError("trained again")

    monkeypatch.setattr(EmbeddedTokenizer, "_train", refuse)
    assert SETTINGS.load(corpus).fingerprint == trained.fingerprint


@pytest.mark.parametrize("damage", [b"", b"\xff", b"x" * 64 + b"\n{}"])
def test_a_damaged_cache_is_rebuilt(corpus: Corpus, own_cache: Path, damage: bytes) -> None:
    trained = SETTINGS.load(corpus)
    (entry,) = own_cache.iterdir()
    whole = entry.read_bytes()
    for content in (damage, whole[:-1], whole.replace(b"BPE", b"BPX", 1)):
        entry.write_bytes(content)
        assert SETTINGS.load(corpus).fingerprint == trained.fingerprint
        assert entry.read_bytes() == whole
    assert list(own_cache.iterdir()) == [entry]


def test_without_a_writable_cache_it_trains(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("MARCO_CACHE", str(blocked / "cache"))
    assert len(SETTINGS.load(corpus)) == 500
    assert blocked.read_text() == "not a folder"


def test_a_full_disk_leaves_nothing_behind(
    corpus: Corpus, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("marco.tokenizers.cache.os.replace", full)
    assert len(SETTINGS.load(corpus)) == 500
    assert list(own_cache.iterdir()) == []


def test_a_small_corpus_yields_fewer_entries(corpus: Corpus) -> None:
    first = corpus.train["eng"][0]
    tiny = Corpus({"eng": [replace(first, text="human rights, human rights")]}, {})
    tokenizer = EmbeddedTokenizer(4096).load(tiny)
    assert 257 < len(tokenizer) < 300
    assert tokenizer.end_of_text == len(tokenizer) - 1


def test_too_small_a_vocabulary() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size=256: at least 257"):
        EmbeddedTokenizer(256)


def test_settings_import_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "import marco.data.udhr, marco.data.files, marco.data.lexicon\n"
        "import marco.tokenizers.embedded, marco.tokenizers.qwen2, marco.tokenizers.pretrained\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'pyarrow', 'numpy', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
