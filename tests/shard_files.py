"""Token shards as datatrove lays them out, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from marco.tokenizers import END_OF_TEXT, Tokenizer

EOT = 9


def write_shard(
    path: Path,
    documents: Sequence[Sequence[int]],
    token_bytes: int = 2,
    loss: Sequence[int] | None = None,
) -> Path:
    """Write documents (their end-of-text included) as a shard without metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tokens = [token for document in documents for token in document]
    np.array(tokens, f"<u{token_bytes}").tofile(path)
    np.cumsum([len(document) for document in documents], dtype="<u8").tofile(f"{path}.index")
    if loss is not None:
        np.array(loss, np.uint8).tofile(f"{path}.loss")
    return path


def word_tokenizer(words: int = 20, name: str = "words") -> Tokenizer:
    """One id a word: w0 is 0, w1 is 1 and so on; the end of text is `EOT`."""
    vocabulary = {f"w{number}": number for number in range(words)}
    vocabulary.pop(f"w{EOT}", None)
    vocabulary[END_OF_TEXT] = EOT
    backend = Backend(models.WordLevel(vocabulary, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Tokenizer(backend, name)
