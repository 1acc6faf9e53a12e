"""Index the n-grams of training text, in which evaluations look up their items.

marco ngrams index=my_index path="texts/*.jsonl"   of .jsonl, .txt and .parquet files
marco ngrams index=my_index data=udhr …            of what a run with these overrides trains on

path=…     a file, or a glob in quotes
words=13   words of an n-gram (20 or 64 characters in scripts without spaces)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from marco.errors import ConfigError

_KEYS = ("index", "path", "words")
_MOST_BYTES = 16_000_000  # of a line or document, as in data=files


def main(arguments: list[str]) -> int:
    """Build an index."""
    parser = argparse.ArgumentParser(
        prog="marco ngrams",
        usage="marco ngrams index=… (path=… | data=…) [key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    own, overrides = _split(parser.parse_args(arguments).overrides)
    if "index" not in own:
        raise ConfigError("index=… must be given: the index's folder.")
    if ("path" in own) == bool(overrides):
        raise ConfigError(
            "Say which text: path=… of files, or the overrides of a run (data=…), not both."
        )
    from marco.evaluation.contamination.ngram_index import build_index, refuse_existing
    from marco.evaluation.contamination.ngrams import WORDS

    words = own.get("words", str(WORDS))
    if not words.isdecimal():
        raise ConfigError(f"words={words} should be a whole number.")
    folder = Path(own["index"]).expanduser()
    refuse_existing(folder)
    texts = _of_files(own["path"]) if "path" in own else _of_run(overrides)
    source = f"path={own['path']}" if "path" in own else " ".join(overrides)
    made = build_index(texts, folder, source=source, words=int(words)).manifest
    print(
        f"{folder}: {made.count:,} different n-grams of {made.words} words, "
        f"of {made.documents:,} documents ({made.bytes:,} bytes)."
    )
    return 0


def _split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Tell the command's own keys from a run's overrides."""
    own: dict[str, str] = {}
    overrides = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in _KEYS:
            overrides.append(argument)
        elif key in own or not value:
            raise ConfigError(f"{key} is {'given twice' if value else 'empty'}.")
        else:
            own[key] = value
    return own, overrides


def _of_files(path: str) -> Iterator[str]:
    from marco.data.text_files import read_texts
    from marco.data.text_source import TextSource

    for file in TextSource(path).files("ngrams"):
        for text in read_texts(file, _MOST_BYTES):
            yield text.text


def _of_run(overrides: list[str]) -> Iterator[str]:
    from marco.config import bind_all, compose
    from marco.evaluation.contamination.corpora import needs_tokenizer, training_texts

    run = bind_all(compose(overrides))
    run.data.check()
    tokenizer = run.tokenizer.load(run.data.load()) if needs_tokenizer(run.data) else None
    return training_texts(run.data, tokenizer)
