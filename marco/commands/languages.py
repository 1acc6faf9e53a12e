"""List the languages marco knows, with script, family, group and embedded text."""

from __future__ import annotations

import argparse
import unicodedata

from marco.errors import ConfigError, nearest
from marco.languages import Language, all_languages

_HEADER = ("code", "name", "script", "family", "group", "UDHR", "lexicon")


def main(arguments: list[str]) -> int:
    """Print one line a language, or those that a word matches."""
    parser = argparse.ArgumentParser(prog="marco languages", description=__doc__)
    parser.add_argument(
        "word", nargs="?", help="only languages with this code, name, script, family or group"
    )
    word = parser.parse_args(arguments).word
    languages = all_languages()
    chosen = languages if word is None else matching(languages, word)
    if not chosen:
        names = [name for item in languages for name in (item.code, item.name, item.family)]
        raise ConfigError(f"no language matches '{word}'.{nearest(word, names)}")
    for line in table(chosen):
        print(line)
    return 0


def matching(languages: list[Language], word: str) -> list[Language]:
    """Return the languages with this code, else those with the word in a name; case is ignored."""
    folded = _fold(word)
    by_code = [
        item
        for item in languages
        if folded in {_fold(code) for code in (item.code, item.iso639_1, item.udhr) if code}
    ]
    return by_code or [
        item
        for item in languages
        if folded in (_fold(item.group), _fold(item.script))
        or any(folded in _fold(text) for text in (item.name, item.family))
    ]


def table(languages: list[Language]) -> list[str]:
    """Return the lines of the table, its header first; ``-`` where a language is not embedded."""
    rows = [_HEADER, *map(_row, languages)]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _row(item: Language) -> tuple[str, ...]:
    embedded = (item.udhr or "-", item.cldr or "-")
    return (item.code, item.name, item.script, item.family, item.group, *embedded)


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(letter) else 1 for letter in text)


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()
