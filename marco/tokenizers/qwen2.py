"""Qwen's own vocabulary of 151,646 entries, which is part of marco: `tokenizer=qwen2`.

It ships as ranks (byte strings in the order they were learned; source and licence:
``marco/assets/README.md``). The `tokenizers` library wants merges, so they are worked out again:
the two parts a token was merged from are what BPE with only the earlier ranks makes of its bytes.
"""

from __future__ import annotations

import base64
import hashlib
import lzma
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

from marco.data.documents import Corpus
from marco.tokenizers.bpe import (
    SPLIT_PATTERN,
    add_special_tokens,
    byte_level_bpe,
    transformers_files,
)
from marco.tokenizers.cache import cached
from marco.tokenizers.tokenizer import END_OF_TEXT, Tokenizer

#: The ids 151643, 151644 and 151645 of the published models.
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>")

ENTRIES = 151_646

_ASSET = files("marco").joinpath("assets/qwen.tiktoken.xz")


@dataclass(frozen=True)
class QwenTokenizer:
    """Settings of Qwen2's tokenizer: it has none."""

    def check(self) -> None:
        """Do nothing: the vocabulary is part of the package."""

    def least_entries(self) -> int:
        """Its entries, special tokens included."""
        return ENTRIES

    def load(self, corpus: Corpus) -> Tokenizer:
        """Return the tokenizer (2 s the first time, then 0.5 s from the cache)."""
        import tokenizers

        packed = _ASSET.read_bytes()
        settings = repr((tokenizers.__version__, SPLIT_PATTERN, SPECIAL_TOKENS))
        key = hashlib.sha256(settings.encode() + packed).hexdigest()[:32]
        serialised = cached(f"qwen2-{key}.tokenizer", lambda: _build(packed))
        backend = tokenizers.Tokenizer.from_str(serialised)
        return Tokenizer(backend, "qwen2", END_OF_TEXT, transformers_files(backend))


def _build(packed: bytes) -> str:
    ranks: dict[bytes, int] = {}
    for line in lzma.decompress(packed).splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    vocabulary = {_spell(token): rank for token, rank in ranks.items()}
    merges = [
        (_spell(left), _spell(right))
        for token in sorted(ranks, key=ranks.__getitem__)
        if len(token) > 1
        for left, right in (_parts(token, ranks),)
    ]
    backend = byte_level_bpe(vocabulary, merges)
    add_special_tokens(backend, SPECIAL_TOKENS)
    return str(backend.to_str())


def _parts(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two tokens that ``token`` was merged from."""
    parts = [token[index : index + 1] for index in range(len(token))]
    limit = ranks[token]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, limit) for left, right in pairwise(parts)]
        best = min(pairs)
        if best >= limit:
            raise ValueError(f"the vocabulary's token {token!r} is not a merge of two others")
        index = pairs.index(best)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts[0], parts[1]


def _spell(token: bytes) -> str:
    return "".join(map(_byte_characters().__getitem__, token))


@lru_cache(maxsize=1)
def _byte_characters() -> dict[int, str]:
    """Byte → the printable character that stands for it in byte-level BPE (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable}
    return table | {byte: chr(256 + index) for index, byte in enumerate(others)}
