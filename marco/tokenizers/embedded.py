"""A byte-level BPE trained on the corpus' own training split: `tokenizer=embedded`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from marco.data.documents import Corpus
from marco.errors import ConfigError
from marco.tokenizers.bpe import (
    SPLIT_PATTERN,
    add_special_tokens,
    byte_level_bpe,
    transformers_files,
)
from marco.tokenizers.cache import cached
from marco.tokenizers.tokenizer import END_OF_TEXT, Tokenizer

# Every byte, and the end of text: with these alone any text can be encoded.
_SMALLEST = 257

# Pairs seen once would be merged into pieces of that one document.
_MIN_FREQUENCY = 2

NO_TEXT = (
    "tokenizer=embedded is trained on the text of the data, and this data has none (only sources): "
    "choose tokenizer=qwen2, or tokenizer=pretrained tokenizer.path=<run folder>/tokenizer, or "
    "give data.base."
)


@dataclass(frozen=True)
class EmbeddedTokenizer:
    """Settings of a BPE trained here.

    Attributes:
        vocab_size: entries, "<|endoftext|>" (the last) included; a small corpus may yield fewer.
    """

    vocab_size: int = 1024

    def __post_init__(self) -> None:
        if self.vocab_size < _SMALLEST:
            raise ConfigError(
                f"tokenizer.vocab_size={self.vocab_size}: at least {_SMALLEST} "
                "(256 bytes and the end-of-text token)."
            )

    def check(self) -> None:
        """Do nothing: there is nothing that could be missing."""

    def least_entries(self) -> int:
        """Entries it has on any text."""
        return _SMALLEST

    def load(self, corpus: Corpus) -> Tokenizer:
        """Train on ``corpus.train`` (2 s per MB of text), or take the same from the cache.

        The result depends on the training texts and their order, not on the machine.

        Raises:
            ConfigError: the corpus has no documents, only sources that are tokens already.
        """
        from tokenizers import Tokenizer as Backend

        if not any(corpus.train.values()):
            raise ConfigError(NO_TEXT)
        name = f"embedded-{self.vocab_size}"
        serialised = cached(f"{name}-{self._key(corpus)}.tokenizer", lambda: self._train(corpus))
        backend = Backend.from_str(serialised)
        return Tokenizer(backend, name, END_OF_TEXT, transformers_files(backend))

    def _train(self, corpus: Corpus) -> str:
        from tokenizers import pre_tokenizers, trainers

        backend = byte_level_bpe()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size - 1,
            min_frequency=_MIN_FREQUENCY,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(_texts(corpus), trainer)
        add_special_tokens(backend, [END_OF_TEXT])
        return str(backend.to_str())

    def _key(self, corpus: Corpus) -> str:
        import tokenizers

        digest = hashlib.sha256()
        settings = (tokenizers.__version__, SPLIT_PATTERN, self.vocab_size, _MIN_FREQUENCY)
        digest.update(repr(settings).encode())
        for text in _texts(corpus):
            encoded = text.encode()
            digest.update(f"{len(encoded)}:".encode() + encoded)
        return digest.hexdigest()[:32]


def _texts(corpus: Corpus) -> Iterator[str]:
    for documents in corpus.train.values():
        for document in documents:
            yield document.text
