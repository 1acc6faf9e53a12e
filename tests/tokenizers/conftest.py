"""A cache of the tests' own, so that they neither use nor change the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marco.data import Corpus
from marco.data.udhr import Udhr
from marco.tokenizers import Tokenizer
from marco.tokenizers.embedded import EmbeddedTokenizer
from marco.tokenizers.qwen2 import QwenTokenizer


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARCO_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return Udhr(["eng", "cmn", "arb", "tha", "yor", "amh"]).load()


@pytest.fixture(scope="session")
def qwen2(corpus: Corpus, cache: Path) -> Tokenizer:
    return QwenTokenizer().load(corpus)


@pytest.fixture(scope="session")
def embedded(corpus: Corpus, cache: Path) -> Tokenizer:
    return EmbeddedTokenizer(1000).load(corpus)
