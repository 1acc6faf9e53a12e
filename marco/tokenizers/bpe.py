"""Qwen2's tokenizer pipeline, shared by its own vocabulary and those trained here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from marco.tokenizers.tokenizer import CONFIG_FILE, END_OF_TEXT

if TYPE_CHECKING:
    import tokenizers

#: How text is cut before merging (Qwen2's published tokenizer.json): contractions, words with the
#: sign before them, single digits, runs of signs, line ends, spaces.
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level_bpe(
    vocabulary: Mapping[str, int] | None = None,
    merges: Sequence[tuple[str, str]] | None = None,
) -> tokenizers.Tokenizer:
    """Return a byte-level BPE: NFC, Qwen2's split, bytes. Without arguments, one to be trained."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    if vocabulary is None or merges is None:
        backend = Tokenizer(models.BPE())
    else:
        backend = Tokenizer(models.BPE(vocab=dict(vocabulary), merges=list(merges)))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def add_special_tokens(backend: tokenizers.Tokenizer, tokens: Sequence[str]) -> None:
    """Append special tokens after the vocabulary, in order."""
    from tokenizers import AddedToken

    backend.add_special_tokens([AddedToken(token, special=True) for token in tokens])


def transformers_files(backend: tokenizers.Tokenizer) -> dict[str, str]:
    """Return the tokenizer_config.json that makes AutoTokenizer load a ``Qwen2Tokenizer``."""
    special = {
        str(number): {
            "content": token.content,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for number, token in sorted(backend.get_added_tokens_decoder().items())
    }
    config = {
        "add_prefix_space": False,
        "added_tokens_decoder": special,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TEXT,
        "errors": "replace",
        "pad_token": END_OF_TEXT,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    return {CONFIG_FILE: json.dumps(config, indent=2, ensure_ascii=False) + "\n"}


def merged_from(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two tokens that ``token`` was merged from: what the earlier ranks leave of it.

    Raises:
        ValueError: they leave more than two.
    """
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


def spell(token: bytes) -> str:
    """Return the printable characters that stand for a token's bytes."""
    return "".join(map(byte_characters().__getitem__, token))


@lru_cache(maxsize=1)
def byte_characters() -> dict[int, str]:
    """Byte → the printable character that stands for it in byte-level BPE (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable}
    return table | {byte: chr(256 + index) for index, byte in enumerate(others)}
