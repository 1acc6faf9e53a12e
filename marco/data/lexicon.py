"""Short names of about 2,000 concepts in 122 locales, from CLDR: banana, 香蕉, ndizi, Ọ̀gẹ̀dẹ̀.

Source and licence: ``marco/assets/README.md``.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import unicodedata
from collections import Counter
from functools import lru_cache
from importlib.resources import files

from marco.errors import DataError, nearest

# In these locales a comma separates two names of one thing (hi "केला, फल": banana, fruit). Elsewhere
# it opens a clause (uk "людина, що веде мʼяч": person that bounces a ball), and cutting there would
# leave a name that fits many concepts.
_COMMA_SEPARATES_NAMES = frozenset({"fa", "gu", "hi", "km", "pa"})
_COMMA = re.compile(r"\s*[,،]\s*")


ASSET = files("marco").joinpath("assets/cldr_lexicon.jsonl.xz")


def locales() -> list[str]:
    """Return the CLDR locales that have names, sorted."""
    return sorted(_all_names())


@lru_cache(maxsize=256)
def names(locale: str) -> dict[str, str]:
    """Return codepoints ("U+1F34C") → name in ``locale``, NFC, in the lexicon's order.

    Where an entry holds two names the first is kept, unless another concept has that very name
    (cs "lékař/lékařka" beside "lékař"). A name that two concepts still share is dropped for both,
    so that a name identifies its concept: a distractor must not be a right answer.

    Raises:
        DataError: the lexicon has no such locale.
    """
    table = _all_names()
    if locale not in table:
        raise DataError(f"The CLDR lexicon has no locale '{locale}'.{nearest(locale, table)}")
    english = table["en"]
    whole = {
        concept: unicodedata.normalize("NFC", name).strip()
        for concept, name in table[locale].items()
    }
    first = {
        concept: _first_name(name, english.get(concept, ""), locale)
        for concept, name in whole.items()
    }
    uses = Counter(name.casefold() for name in first.values())
    cleaned = {
        concept: name if uses[name.casefold()] == 1 else whole[concept]
        for concept, name in first.items()
    }
    uses = Counter(name.casefold() for name in cleaned.values())
    return {concept: name for concept, name in cleaned.items() if uses[name.casefold()] == 1}


def everyday(concept: str, english: str, first: str, second: str) -> bool:
    """Whether a concept is a word to ask for: banana, not "man kneeling" nor a punctuation mark.

    Args:
        concept: its code points.
        english: its name in English: a single word.
        first, second: its names in two languages, not the same, and no descriptions.
    """
    return (
        int(concept.split()[0].removeprefix("U+"), 16) >= 0x2600  # pictures, not punctuation
        and english.isalpha()
        and english.isascii()
        and first.casefold() != second.casefold()
        and not any(mark in first + second for mark in "(:,/“")
    )


def draw_hash(seed: int, purpose: str, concept: str) -> int:
    """Return the number, below 2^64, that orders concepts: for "asked" the lowest are asked."""
    text = f"{seed}\0{purpose}\0{concept}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def _first_name(name: str, english: str, locale: str) -> str:
    if locale in _COMMA_SEPARATES_NAMES and not re.search("[,:]", english):
        name = _COMMA.split(name)[0] or name
    if not re.search(r"/| or |[-:]", english):
        if " / " in name:  # or "ମହାଶୂନ୍ୟ ଯାତ୍ରୀ / ମହାକାଶ ଯାତ୍ରୀ"
            name = name.split(" / ")[0]
        elif name.count("/") == 1 and not re.search(r"[\s\d-]", name):  # fr "midi/minuit"
            name = name.split("/")[0]
    return name


@lru_cache(maxsize=1)
def _all_names() -> dict[str, dict[str, str]]:
    """Locale → codepoints → raw name (0.2 s, once)."""
    table: dict[str, dict[str, str]] = {}
    for line in lzma.decompress(ASSET.read_bytes()).splitlines():
        entry = json.loads(line)
        for locale, name in entry["names"].items():
            table.setdefault(locale, {})[entry["codepoints"]] = name
    return table
