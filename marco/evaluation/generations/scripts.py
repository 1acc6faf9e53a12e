"""The script of a text, from the Unicode property of its letters."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import regex

from marco.languages import all_languages, get

#: ISO 15924 codes that stand for several of Unicode's scripts, or for a part of one.
_PARTS: dict[str, tuple[str, ...]] = {
    "Hans": ("Hani",),
    "Hant": ("Hani",),
    "Jpan": ("Hani", "Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
}

_LETTER = regex.compile(r"\p{L}")


def letters(text: str) -> Counter[str]:
    """Return {script: letters}, of the scripts that the registry's languages are written in.

    Marks, digits and punctuation are of no script of their own; letters of any other script count
    as "Zyyy".
    """
    found: Counter[str] = Counter()
    for letter, count in Counter(_LETTER.findall(text)).items():
        found[_script(letter)] += count
    return found


def expected_scripts(language: str, reference: str | None, least: int) -> tuple[str, ...]:
    """Return the scripts that a text in the language should be in.

    It is the registry's script, unless a reference of at least ``least`` letters is mostly in
    another one: many languages have two (Serbian, Uzbek), and the benchmark decides.
    """
    script = get(language).script
    usual = _PARTS.get(script, (script,))
    found = letters(reference or "")
    total = found.total()
    if total < least or 2 * sum(found[name] for name in usual) >= total:
        return usual
    return (found.most_common(1)[0][0],)


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    return next((code for code, found in _patterns().items() if found.match(letter)), "Zyyy")


@lru_cache(maxsize=1)
def _patterns() -> dict[str, regex.Pattern[str]]:
    codes = {language.script for language in all_languages()}
    names = dict.fromkeys(name for code in sorted(codes) for name in _PARTS.get(code, (code,)))
    first = ["Latn", *(name for name in names if name != "Latn")]
    return {name: regex.compile(rf"\p{{Script={name}}}") for name in first}
