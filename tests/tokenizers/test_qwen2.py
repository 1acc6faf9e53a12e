"""Qwen's own vocabulary."""

from __future__ import annotations

import base64
import lzma
from importlib.resources import files
from itertools import pairwise

import pytest

from marco.data import Corpus
from marco.tokenizers import Tokenizer
from marco.tokenizers.bpe import byte_level_bpe
from marco.tokenizers.qwen2 import SPECIAL_TOKENS, QwenTokenizer


def test_published_size_and_special_tokens(qwen2: Tokenizer) -> None:
    assert len(qwen2) == 151_646
    assert qwen2.end_of_text == 151_643
    assert [qwen2.decode([number]) for number in range(151_643, 151_646)] == list(SPECIAL_TOKENS)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world", [9707, 1879]),
        ("Hello, world!", [9707, 11, 1879, 0]),
        ("Hello, how are you?", [9707, 11, 1246, 525, 498, 30]),
        ("你好", [108386]),
        ("1234", [16, 17, 18, 19]),
        ("\n\n", [271]),
        ("", []),
    ],
)
def test_published_ids(qwen2: Tokenizer, text: str, ids: list[int]) -> None:
    assert qwen2.encode(text) == ids


def test_merges_agree_with_the_ranks_they_were_made_from(qwen2: Tokenizer, corpus: Corpus) -> None:
    """As tiktoken does it: in each piece, merge the pair whose bytes have the lowest rank."""
    packed = files("marco").joinpath("assets/qwen.tiktoken.xz").read_bytes()
    ranks = {
        base64.b64decode(token): int(rank)
        for token, rank in map(bytes.split, lzma.decompress(packed).splitlines())
    }
    split = byte_level_bpe().pre_tokenizer
    for documents in corpus.held_out.values():
        text = documents[0].text
        expected = []
        for _, (start, end) in split.pre_tokenize_str(text):
            parts = [bytes([byte]) for byte in text[start:end].encode()]
            while len(parts) > 1:
                pairs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
                if min(pairs) == len(ranks):
                    break
                at = pairs.index(min(pairs))
                parts[at : at + 2] = [parts[at] + parts[at + 1]]
            expected += [ranks[part] for part in parts]
        assert qwen2.encode(text) == expected


def test_the_second_time_it_comes_from_the_cache(
    qwen2: Tokenizer, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(packed: bytes) -> str:
        raise AssertionError("built again")

    monkeypatch.setattr("marco.tokenizers.qwen2._build", refuse)
    QwenTokenizer().check()
    assert QwenTokenizer().load(corpus).fingerprint == qwen2.fingerprint
