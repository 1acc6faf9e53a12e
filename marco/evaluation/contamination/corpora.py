"""The text of a data config: what a run would train on, and what it holds out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from marco.data.settings import Data
from marco.data.stores import Source
from marco.data.text_files import FORMATS, PACKED, read_texts
from marco.data.text_source import TextSource
from marco.errors import ConfigError

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer

_MOST_BYTES = 16_000_000  # of a line or document, as in data=files
_DOCUMENTS = 256  # read from a store at once


def training_texts(data: Data, tokenizer: Tokenizer | None) -> Iterator[str]:
    """Yield every document that a run with this data trains on, source after source.

    Args:
        data: checked settings.
        tokenizer: of sources that are tokens; None where there are none (`needs_tokenizer`).
    """
    corpus = data.load()
    for documents in corpus.train.values():
        for document in documents:
            yield document.text
    if tokenizer is not None:
        for source in data.open_sources(corpus, tokenizer):
            if source.name not in corpus.train:
                yield from _decoded(source, tokenizer)


def needs_tokenizer(data: Data) -> bool:
    """Whether some sources of the data are not among the documents it loads."""
    return not data.gives_text() or set(data.source_names()) != set(data.language_codes())


def held_out_texts(data: Data) -> list[tuple[str, str]]:
    """Return (language, text) of every document that is held out."""
    return [
        (language, document.text)
        for language, documents in data.load().held_out.items()
        for document in documents
    ]


def texts_of_files(path: str) -> Iterator[tuple[Path, str]]:
    """Yield (file, text) of text files: .jsonl, .txt (also .gz, .xz) or .parquet.

    Args:
        path: a file, a glob, or a folder of such files.

    Raises:
        ConfigError: nothing is there. DataError: text that cannot be read.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        kinds = tuple(f".{kind}{end}" for kind in FORMATS for end in ("", *PACKED))
        files = sorted(file for file in folder.iterdir() if file.name.endswith(kinds))
        if not files:
            raise ConfigError(f"path={path}: no .jsonl, .txt or .parquet file is in that folder.")
    else:
        files = TextSource(path).files("ngrams")
    for file in files:
        for text in read_texts(file, _MOST_BYTES):
            yield file, text.text


def _decoded(source: Source, tokenizer: Tokenizer) -> Iterator[str]:
    store = source.store
    start = 0
    for first in range(0, store.documents, _DOCUMENTS):
        ends = store.ends(first, min(first + _DOCUMENTS, store.documents))
        tokens = store.read(start, int(ends[-1]))
        begin = 0
        for end in (ends - start).tolist():
            yield tokenizer.decode(tokens[begin : end - 1].tolist())  # without its end-of-text
            begin = end
        start = int(ends[-1])
