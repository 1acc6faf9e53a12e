"""Text tokenised once: kept under `$MARCO_CACHE/tokens` (or `~/.cache/marco/tokens`), then mapped.

An entry is a folder named by a hash of the text's key, the tokenizer's fingerprint and the format's
version. It is written beside and renamed, so that it is there whole or not at all; a damaged one is
made again. Like `marco.tokenizers.cache` it is only ever a shortcut.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from marco.data.encoding import batches, encode_all, encode_small, usable_cores
from marco.data.stores import Source
from marco.data.token_entry import Entry
from marco.data.token_sink import TokenSink
from marco.data.tokenise_bar import watched

if TYPE_CHECKING:
    from marco.data.documents import Document
    from marco.tokenizers import Tokenizer

#: Bytes of text up to which tokenising again (half a second) is cheaper than a place on the disk.
SMALL = 2_000_000


def tokenised(
    name: str,
    language: str,
    documents: Iterable[Document],
    key: str,
    tokenizer: Tokenizer,
    total_bytes: int | None = None,
    small: int = SMALL,
) -> Source:
    """Return a source of `documents`, tokenised now or before.

    Texts of at most `small` bytes stay in memory, and never touch the disk. More is written to the
    cache in constant memory, on all cores this process may use, with a progress bar; where the
    cache cannot be written, or the disk is full, it stays in memory too, and a warning says so. Of
    several processes that want the same, one tokenises and the others wait.

    Args:
        name: the source's.
        language: canonical code, or "mul".
        documents: read only where the cache does not have them.
        key: a hash of what `documents` will yield: equal keys, equal texts in equal order.
        tokenizer: which ids.
        total_bytes: about how much text it is, for the progress bar.
        small: see above.

    Raises:
        DataError: what reading `documents` raises.
    """
    source = _tokenised(name, language, documents, key, tokenizer, total_bytes, small)
    return replace(source, content=key)


def _tokenised(
    name: str,
    language: str,
    documents: Iterable[Document],
    key: str,
    tokenizer: Tokenizer,
    total_bytes: int | None,
    small: int,
) -> Source:
    entry = Entry(key, tokenizer)
    if (found := entry.read(name, language)) is not None:
        return found
    texts = batches(documents)
    first: list[list[str]] = []
    size = 0
    for batch in texts:
        first.append(batch)
        size += sum(len(text.encode()) for text in batch)
        if size > small:
            break
    else:
        with TokenSink(None, name, language, tokenizer.end_of_text) as sink:
            sink.append(encode_small([text for batch in first for text in batch], tokenizer))
            return sink.finish()
    with entry.locked():
        if (found := entry.read(name, language)) is not None:
            return found
        tokens = encode_all(itertools.chain(first, texts), tokenizer, usable_cores())
        with (
            closing(tokens),
            TokenSink(entry, name, language, tokenizer.end_of_text) as sink,
        ):
            for batch_of_tokens in watched(tokens, name, total_bytes):
                sink.append(batch_of_tokens)
            return sink.finish()


def content_hash(documents: Iterable[Document]) -> str:
    """Return a SHA-256 of the texts, in order, holding one at a time."""
    digest = hashlib.sha256()
    for document in documents:
        text = document.text.encode()
        digest.update(f"{len(text)}:".encode() + text)
    return digest.hexdigest()
