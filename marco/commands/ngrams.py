"""Index a corpus' n-grams, and look up which evaluation text is among them.

  marco ngrams build index=my_index path=texts/     of .jsonl, .txt and .parquet files
  marco ngrams build index=my_index data=udhr …     of what a run with these overrides trains on
  marco ngrams check index=my_index path=items/     items in files named <language>.jsonl and so on
  marco ngrams check index=my_index data=udhr …     of what such a run holds out

  path=…          a file, a glob in quotes, or a folder of files
  words=13        words of an n-gram (20 or 64 characters in scripts without spaces); of `build`
  language=swh    of all the items of `check`, where their files are not named as languages
  output=json     `check` prints one JSON object a row
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from marco.config import RunSettings

_KEYS = {
    "build": ("index", "path", "words"),
    "check": ("index", "path", "language", "output"),
}


def main(arguments: list[str]) -> int:
    """Build an index, or check text against one."""
    parser = argparse.ArgumentParser(
        prog="marco ngrams",
        usage="marco ngrams {build,check} index=… (path=… | data=…) [key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.action not in _KEYS:
        guess = nearest(parsed.action, _KEYS)
        raise ConfigError(f"marco ngrams {parsed.action}: there are build and check.{guess}")
    own, overrides = _split(parsed.action, parsed.overrides)
    if "index" not in own:
        raise ConfigError("index=… must be given: the index's folder.")
    if ("path" in own) == bool(overrides):
        raise ConfigError(
            "Say which text: path=… of files, or the overrides of a run (data=…), not both."
        )
    run = None if "path" in own else _run(overrides)
    folder = Path(own["index"]).expanduser()
    if parsed.action == "build":
        return _build(folder, own, run, overrides)
    return _check(folder, own, run)


def _build(
    folder: Path, own: dict[str, str], run: RunSettings | None, overrides: list[str]
) -> int:
    from marco.evaluation.contamination.corpora import (
        needs_tokenizer,
        texts_of_files,
        training_texts,
    )
    from marco.evaluation.contamination.ngram_index import build_index, refuse_existing
    from marco.evaluation.contamination.ngrams import WORDS

    given = own.get("words", str(WORDS))
    if not given.isdecimal():
        raise ConfigError(f"words={given} should be a whole number.")
    refuse_existing(folder)
    if run is None:
        texts = (text for _, text in texts_of_files(own["path"]))
        source = f"path={own['path']}"
    else:
        tokenizer = None
        if needs_tokenizer(run.data):
            tokenizer = run.tokenizer.load(run.data.load())
        texts = training_texts(run.data, tokenizer)
        source = " ".join(overrides)
    made = build_index(texts, folder, source=source, words=int(given)).manifest
    print(
        f"{folder}: {made.count:,} different n-grams of {made.words} words, "
        f"of {made.documents:,} documents ({made.bytes:,} bytes)."
    )
    return 0


def _check(folder: Path, own: dict[str, str], run: RunSettings | None) -> int:
    import json

    from marco.evaluation.contamination.corpora import held_out_texts, texts_of_files
    from marco.evaluation.contamination.ngram_index import NgramIndex
    from marco.evaluation.contamination.overlap import METRICS, overlap
    from marco.languages import get

    output = own.get("output", "text")
    if output not in ("text", "json"):
        raise ConfigError(f"output={output}: text or json.{nearest(output, ('text', 'json'))}")
    index = NgramIndex(folder)
    if run is None:
        language = own.get("language")
        items = [
            (get(language or file.name.split(".")[0]).code, text)
            for file, text in texts_of_files(own["path"])
        ]
    else:
        items = held_out_texts(run.data)
    rows = overlap("text", items, index)
    if output == "json":
        for row in rows:
            print(json.dumps(row.as_dict(), ensure_ascii=False))
        return 0
    made = index.manifest
    print(f"{made.count:,} n-grams of {made.words} words, of {made.source:.200}\n")
    print(f"{'language':<10}{'items':>7}  {'with any n-gram in it':<24}{'n-grams in it':>14}")
    for items_row, ngrams_row in zip(rows[::2], rows[1::2], strict=True):
        assert (items_row.metric, ngrams_row.metric) == METRICS
        print(_line(items_row, ngrams_row))
    return 0


def _line(items: Any, ngrams: Any) -> str:
    if items.value is None:
        return f"{items.language:<10}{'-':>7}  {items.reason}"
    interval = f"{items.value:7.1%} ({items.low:.1%}-{items.high:.1%})"
    return f"{items.language:<10}{items.n:>7}  {interval:<24}{ngrams.value:>14.2%}"


def _split(action: str, arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Tell the command's own keys from a run's overrides."""
    own: dict[str, str] = {}
    overrides = []
    every = {key for keys in _KEYS.values() for key in keys}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in every:
            overrides.append(argument)
        elif key not in _KEYS[action]:
            raise ConfigError(f"{key}=…: `marco ngrams {action}` has no such key.")
        elif key in own or not value:
            raise ConfigError(f"{key} is {'given twice' if value else 'empty'}.")
        else:
            own[key] = value
    return own, overrides


def _run(overrides: list[str]) -> RunSettings:
    from marco.config import bind_all, compose

    run = bind_all(compose(overrides))
    run.data.check()
    return run
