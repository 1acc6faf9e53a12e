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
from importlib.resources import files

from marco.data.documents import Corpus
from marco.tokenizers.bpe import (
    SPLIT_PATTERN,
    add_special_tokens,
    byte_level_bpe,
    merged_from,
    spell,
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
    vocabulary = {spell(token): rank for token, rank in ranks.items()}
    merges = [
        (spell(left), spell(right))
        for token in sorted(ranks, key=ranks.__getitem__)
        if len(token) > 1
        for left, right in (merged_from(token, ranks),)
    ]
    backend = byte_level_bpe(vocabulary, merges)
    add_special_tokens(backend, SPECIAL_TOKENS)
    return str(backend.to_str())
