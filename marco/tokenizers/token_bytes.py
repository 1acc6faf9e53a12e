"""How many bytes of text each token stands for: what makes a ledger of tokens one of bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tokenizers


def token_bytes(backend: tokenizers.Tokenizer, entries: int) -> NDArray[np.int64]:
    """Return the UTF-8 bytes of every token, [entries]; 0 for special tokens and gaps.

    Exact where the vocabulary is byte-level (all of Qwen's, and ours): there a token has a
    character for each byte. Elsewhere it is the length of the token decoded alone.
    """
    found = np.zeros(entries, np.int64)
    added = backend.get_added_tokens_decoder()
    byte_level = _has_byte_level(json.loads(backend.decoder.__getstate__()))
    for token, id_ in backend.get_vocab(with_added_tokens=True).items():
        if id_ in added:
            found[id_] = 0 if added[id_].special else len(token.encode())
        else:
            found[id_] = len(token) if byte_level else len(backend.decode([id_]).encode())
    return found


def _has_byte_level(decoder: object) -> bool:
    if not isinstance(decoder, dict):
        return False
    inner = decoder.get("decoders", [])
    return decoder.get("type") == "ByteLevel" or any(map(_has_byte_level, inner))
