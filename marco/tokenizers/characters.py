"""Which characters two libraries may know differently, because each has a Unicode of its own.

Letters, numbers and spaces decide where text is cut, marks and compositions what NFC makes of it.
The tables of `tokenizers`, of `tiktoken` and of Python's `unicodedata` are of different years: with
tokenizers 0.23 and Python 3.11, NFC disagrees on 98 Arabic marks. Such characters are found by
asking both.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from marco.tokenizers.cache import cached

# Up to Unicode 17 nothing is assigned beyond, but private use; what is there counts as unsure.
_ASSIGNED = (range(0xD800), range(0xE000, 0x33480), range(0xE0000, 0xE0200))
_PRIVATE = range(0xF0000, 0x110000)
# What SPLIT_PATTERN asks of a character.
_CLASSES = (r"\p{L}", r"\p{N}", r"\s", r"(?i:[stremvld])", r"[^\r\n\p{L}\p{N}]", r"[^\s\p{L}\p{N}]")
# Between probes: starts nothing, and no mark goes past it.
_APART = "\n"


def unsure() -> NDArray[np.bool_]:
    """Return [0x110000]: whether the libraries may treat a code point differently.

    Takes 2 s the first time, then comes from the cache.
    """
    import tiktoken
    import tokenizers

    versions = f"{tokenizers.__version__}-{tiktoken.__version__}-{unicodedata.unidata_version}"
    found = json.loads(cached(f"unicode-{versions}.unsure", lambda: json.dumps(_find())))
    table = np.ones(0x110000, np.bool_)
    for known in (*_ASSIGNED, _PRIVATE):
        table[known.start : known.stop] = False
    table[found] = True
    return table


def _find() -> list[int]:
    characters = [chr(code) for known in _ASSIGNED for code in known if chr(code) != _APART]
    different = {c for kind in _CLASSES for c in _differ_in_class(kind, characters)}
    for probes in (_alone, _before_a_mark, _after_a_mark):
        different.update(_differ_in_nfc(characters, probes))
    different.update(_differ_in_nfd(characters))
    return sorted(map(ord, different))


def _differ_in_class(kind: str, characters: Iterable[str]) -> set[str]:
    import tiktoken
    from tokenizers import Regex, normalizers

    text = "".join(characters)
    bytes_alone = {bytes([byte]): byte for byte in range(256)}
    # tiktoken keeps what its pattern matches, and drops the rest.
    engine = tiktoken.Encoding(
        "class", pat_str=kind, mergeable_ranks=bytes_alone, special_tokens={}
    )
    inside = set(bytes(engine.encode_ordinary(text)).decode())
    outside = normalizers.Replace(Regex(kind), "").normalize_str(text)
    return inside.symmetric_difference(set(text).difference(outside))


def _alone(character: str) -> str:
    return character


def _before_a_mark(character: str) -> str:
    return f"a{character}\u0334"  # class 1: goes before every mark of a higher class


def _after_a_mark(character: str) -> str:
    return f"a\u0301{character}"  # class 230: goes behind every mark of a lower class


def _differ_in_nfc(characters: list[str], probe: Callable[[str], str]) -> set[str]:
    from tokenizers import normalizers

    probes = [probe(character) for character in characters]
    theirs = normalizers.NFC().normalize_str(_APART.join(probes)).split(_APART)
    ours = [unicodedata.normalize("NFC", text) for text in probes]
    return {c for c, a, b in zip(characters, theirs, ours, strict=True) if a != b}


def _differ_in_nfd(characters: list[str]) -> set[str]:
    """Return what is taken apart differently, and its parts: one library will join them."""
    from tokenizers import normalizers

    theirs = normalizers.NFD().normalize_str(_APART.join(characters)).split(_APART)
    ours = [unicodedata.normalize("NFD", character) for character in characters]
    together = zip(characters, theirs, ours, strict=True)
    return {part for c, a, b in together if a != b for part in {c, *a, *b}}
