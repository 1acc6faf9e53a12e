"""Documents and the corpus they form: what every data source returns and every tokenizer reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Document:
    """One text in one language.

    Attributes:
        text: NFC text, never empty.
        language: canonical code (``marco.languages``).
        source: the data source's name, such as "udhr" or a file's name.
        id: names it within its source: an article, a file and line, or the user's own id.
        parallel_id: equal for documents that say the same in other languages, else None.
    """

    text: str
    language: str
    source: str
    id: str
    parallel_id: str | None = None


@dataclass(frozen=True)
class Corpus:
    """The training and held-out documents of every language, by canonical code.

    Attributes:
        train: language → documents, in the order of the configured languages.
        held_out: the same languages → documents that training never sees.
        notes: one line for each thing that was dropped or moved, with its count, for the log.
    """

    train: dict[str, list[Document]]
    held_out: dict[str, list[Document]]
    notes: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Return a SHA-256 over every field of every document, in order, and the split."""
        digest = hashlib.sha256()
        for split in (self.train, self.held_out):
            _add(digest, str(len(split)))
            for language, documents in split.items():
                _add(digest, language)
                _add(digest, str(len(documents)))
                for document in documents:
                    _add(digest, document.text)
                    _add(digest, document.language)
                    _add(digest, document.source)
                    _add(digest, document.id)
                    _add(digest, document.parallel_id)
        return digest.hexdigest()


def _add(digest: hashlib._Hash, value: str | None) -> None:
    """Hash a value with its length in front, so that ("ab", "c") differs from ("a", "bc")."""
    encoded = b"" if value is None else value.encode()
    digest.update(f"{-1 if value is None else len(encoded)}:".encode())
    digest.update(encoded)
