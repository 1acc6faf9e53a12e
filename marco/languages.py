"""The language registry: ISO 639-3 codes with script, family, resource group and display name.

The rows are in ``marco/assets/languages.tsv`` (where they come from: ``marco/assets/README.md``).
Everywhere else in marco a language is its canonical code, a plain ``str``; only what a user writes
(``en``, ``zho_Hans``, ``Swahili``) passes through :func:`get`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from marco.errors import ConfigError, nearest

#: Resource groups of Marco-LLM (arXiv 2412.04003, Table 1); every language beyond it is "low".
GROUPS: tuple[str, ...] = ("english", "chinese", "high", "low")

#: The paper's 29 languages, in Table 1's order: English, Chinese, 8 high-resource, 19 low-resource.
MARCO_LANGUAGES: tuple[str, ...] = (
    *("eng", "cmn"),
    *("arb", "deu", "spa", "fra", "jpn", "kor", "por", "tur"),
    *("azj", "ben", "ces", "ell", "heb", "hun", "ind", "ita", "kaz", "zlm"),
    *("npi", "nld", "pol", "ron", "rus", "tha", "ukr", "urd", "vie"),
)

_RIGHT_TO_LEFT = frozenset({"Adlm", "Arab", "Hebr", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"})

# UDHR labels a few texts with what ISO 639-3 assigns to another language (rmy is Vlax Romani, but
# UDHR's rmy is Aromanian). Such a label would silently select the wrong language: no alias.
_MISLEADING_UDHR_CODES = frozenset({"gax", "hna", "qud", "qxa", "rmy"})


@dataclass(frozen=True)
class Language:
    """One language, as the registry knows it.

    Attributes:
        code: the canonical code, ISO 639-3.
        name: English display name.
        script: ISO 15924 code of the script its text is expected in.
        family: the highest commonly accepted family, or "unknown".
        group: one of :data:`GROUPS`.
        direction: writing direction, from the script.
        iso639_1: the two-letter code, where there is one.
        udhr: code of its declaration in the UDHR corpus, where there is one.
        cldr: its locale in the CLDR lexicon, where there is one.
        native_name: what it is called in the language itself, where CLDR says so ("Kiswahili").
    """

    code: str
    name: str
    script: str
    family: str
    group: str
    direction: Literal["ltr", "rtl"]
    iso639_1: str | None
    udhr: str | None
    cldr: str | None
    native_name: str | None


def get(code: str) -> Language:
    """Return the language a user means by ``code``.

    Args:
        code: a canonical code, ISO 639-1 (``en``), a code with its script (``eng_Latn``,
            ``zho_Hans``), a UDHR code (``deu_1996``) or an English name; case does not matter.

    Raises:
        ConfigError: nothing, or more than one language, goes by this name.
    """
    if not isinstance(code, str):
        raise ConfigError(
            f"A language code must be text, not {code!r}: YAML reads an unquoted `no` as false, "
            "so quote it or use the three-letter code (nob)."
        )
    languages = _registry()
    if code in languages:
        return languages[code]
    word = _fold(code)
    targets = _aliases().get(word) or _with_script(word)
    if len(targets) > 1:
        meant = " or ".join(f"{target} ({languages[target].name})" for target in targets)
        raise ConfigError(f"Language '{code}' could be {meant}: use the code.")
    if not targets:
        raise ConfigError(f"Unknown language '{code}'.{_hint(code.strip())}")
    return languages[targets[0]]


def canonical(codes: Sequence[str]) -> list[str]:
    """Return the canonical codes of ``codes``, in their order.

    Raises:
        ConfigError: an unknown language, or two entries that are the same language.
    """
    if isinstance(codes, str):
        raise ConfigError(f"Languages must be a list, such as [{codes}], not the text '{codes}'.")
    found: dict[str, str] = {}
    for code in codes:
        language = get(code).code
        if language in found:
            raise ConfigError(
                f"Language {language} is named twice: as '{found[language]}' and as '{code}'."
            )
        found[language] = code
    return list(found)


def all_languages() -> list[Language]:
    """Return every language of the registry, sorted by code."""
    return list(_registry().values())


@lru_cache(maxsize=1)
def _registry() -> dict[str, Language]:
    return {language.code: language for language, _ in _rows()}


@lru_cache(maxsize=1)
def _aliases() -> dict[str, tuple[str, ...]]:
    """Folded alias → the canonical codes that claim it, sorted; only one claimant is usable."""
    claims: dict[str, set[str]] = {}
    for language, extra in _rows():
        udhr = None if language.udhr in _MISLEADING_UDHR_CODES else language.udhr
        own = (language.code, language.name, language.iso639_1, udhr, language.cldr)
        for word in (*own, *extra):
            if word is not None:
                claims.setdefault(_fold(word), set()).add(language.code)
    return {word: tuple(sorted(codes)) for word, codes in claims.items()}


def _with_script(word: str) -> tuple[str, ...]:
    """Resolve ``eng_latn``: the script must be the one the registry has for that language."""
    base, separator, script = word.rpartition("_")
    exact = (base,) if base in _registry() else _aliases().get(base, ())
    targets = exact if separator else ()
    return tuple(code for code in targets if _registry()[code].script.casefold() == script)


def _hint(word: str) -> str:
    """Name the nearest language; of equally near ones, one that begins alike."""
    words = [*_registry(), *(language.name for language in _registry().values())]
    hint = ""
    for length in (2, 1, 0):
        start = word[:length].casefold()
        hint = hint or nearest(
            word, [other for other in words if other.casefold()[:length] == start]
        )
    return f"{hint} Languages are named by ISO 639-3 code, such as eng, cmn or swh."


def _fold(word: str) -> str:
    return re.sub(r"[-_]+", "_", word.strip().casefold())


@lru_cache(maxsize=1)
def _rows() -> tuple[tuple[Language, tuple[str, ...]], ...]:
    return tuple(_parse())


def _parse() -> Iterator[tuple[Language, tuple[str, ...]]]:
    table = files("marco").joinpath("assets/languages.tsv").read_text(encoding="utf-8")
    for line in table.splitlines()[1:]:
        code, name, script, family, group, iso639_1, udhr, cldr, native, aliases = (
            None if cell == "-" else cell for cell in line.split("\t")
        )
        if code is None or name is None or script is None or family is None or group is None:
            raise ValueError(f"marco/assets/languages.tsv: incomplete row {line!r}")
        way: Literal["ltr", "rtl"] = "rtl" if script in _RIGHT_TO_LEFT else "ltr"
        language = Language(code, name, script, family, group, way, iso639_1, udhr, cldr, native)
        yield language, tuple(aliases.split("; ")) if aliases else ()
