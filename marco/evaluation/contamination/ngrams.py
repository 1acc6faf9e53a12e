"""What an n-gram is here, and 64-bit hashes of all of a text's.

Text is compared after NFKC, case folding and NFKC again, without punctuation, symbols and spaces:
"Don't —  STOP!" is the words don, t, stop. What only formats (a soft hyphen, joiners) is left out.
A unit is a word (a run of letters, marks and numbers) or, in a script that writes no spaces between
words, a character. How many units an n-gram has depends on its first one, so that mixed text needs
no decision about its language:

- a word: n, 13 as for GPT-3 (T. Brown et al., arXiv 2005.14165, appendix C);
- a character of Chinese or Japanese (Han, kana, Bopomofo, Yi): 20 for n = 13;
- a character of Thai, Lao, Burmese, Khmer, Tibetan, or of another South-East Asian script: 64.

The Universal Declaration of Human Rights needs 1.4 characters for an English word in Chinese, 2.2
in Japanese, and from 5.2 (Thai, Tibetan) to 7.9 (Burmese): 13 words are 19, 28, and 68 to 103.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

WORDS = 13
NORMALISATION = "NFKC, casefold, NFKC; letters, marks and numbers"

_BREAK, _WORD, _DENSE, _SPARSE, _END, _NOTHING = range(6)
_DENSE_PER_WORD, _SPARSE_PER_WORD = 20 / 13, 64 / 13
_DENSE_RANGES = (
    (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x30FF),
    (0x3100, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xA000, 0xA48F), (0xF900, 0xFAFF), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
_SPARSE_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
    (0x1A00, 0x1AAF),  # Buginese, Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0xA980, 0xA9DF),  # Javanese
    (0xA9E0, 0xA9FF),  # Burmese
    (0xAA00, 0xAADF),  # Cham, Burmese, Tai Viet
)
_END_MARK = "\U0010ffff"  # no character: ends a text among others
#: Odd bases of polynomials modulo 2^64, of letters in a unit and of units in an n-gram.
_LETTER, _UNIT = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


@dataclass(frozen=True, slots=True)
class Lengths:
    """Units of an n-gram, by the kind of its first one."""

    words: int
    dense: int
    sparse: int

    @classmethod
    def of(cls, words: int) -> Lengths:
        """For n-grams of `words` words, and about as much in scripts without spaces."""
        dense, sparse = round(words * _DENSE_PER_WORD), round(words * _SPARSE_PER_WORD)
        return cls(words, dense, sparse)


@dataclass(frozen=True)
class Grams:
    """The n-grams of some texts.

    Attributes:
        hashes: [n-grams] uint64, text after text, in their order.
        counts: [texts] int64: how many n-grams each text has; 0 where it is too short.
    """

    hashes: Hashes
    counts: NDArray[np.int64]


def hash_ngrams(texts: Sequence[str], lengths: Lengths) -> Grams:
    """Hash every n-gram of every text; none spans two texts.

    Equal n-grams have equal hashes on any machine. Different ones have equal hashes with a
    probability of about 2^-64 (they are no defence against somebody who looks for such pairs).
    """
    letters = np.frombuffer(
        normalised(_END_MARK.join([*texts, ""])).encode("utf-32-le", "surrogatepass"), np.uint32
    )
    kinds = _kinds()[letters]
    letters, kinds = letters[kinds != _NOTHING], kinds[kinds != _NOTHING]
    starts = _unit_starts(kinds)
    if len(starts) == 0:
        return Grams(np.empty(0, np.uint64), np.zeros(len(texts), np.int64))
    first_kinds = kinds[starts]
    units = _hash_units(letters, kinds, starts)
    ends = np.cumsum(first_kinds == _END)  # of the texts up to each unit
    wanted = {_WORD: lengths.words, _DENSE: lengths.dense, _SPARSE: lengths.sparse}
    hashes = np.empty(len(units), np.uint64)
    whole = np.zeros(len(units), np.bool_)
    for kind, length in wanted.items():
        places = np.flatnonzero(first_kinds == kind)
        places = places[places <= len(units) - length]
        places = places[ends[places] == ends[places + length - 1]]
        if len(places):
            hashes[places] = _windows(units, length)[places]
            whole[places] = True
    found = np.flatnonzero(whole)
    counts = np.bincount(ends[found], minlength=len(texts) + 1)[: len(texts)]
    return Grams(_mixed(hashes[found]), counts.astype(np.int64))


def normalised(text: str) -> str:
    """Return the text as it is compared, punctuation still in it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=1)
def _kinds() -> NDArray[np.uint8]:
    """What every code point is: [0x110000]."""
    names = np.array([unicodedata.category(chr(point)) for point in range(0x110000)])
    kinds = np.full(len(names), _BREAK, np.uint8)
    for first in ("L", "M", "N"):
        kinds[np.char.startswith(names, first)] = _WORD
    kinds[names == "Cf"] = _NOTHING
    for ranges, kind in ((_DENSE_RANGES, _DENSE), (_SPARSE_RANGES, _SPARSE)):
        for low, high in ranges:
            block = kinds[low : high + 1]
            block[block == _WORD] = kind
    kinds[ord(_END_MARK)] = _END
    return kinds


def _unit_starts(kinds: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where units begin: words at their first letter, everything else where it is."""
    starts = kinds >= _WORD
    starts[1:] &= (kinds[1:] != _WORD) | (kinds[:-1] != _WORD)
    return np.flatnonzero(starts)


def _hash_units(
    letters: NDArray[np.uint32], kinds: NDArray[np.uint8], starts: NDArray[np.int64]
) -> Hashes:
    """A polynomial hash of the letters of every unit, modulo 2^64."""
    lettered = kinds != _BREAK
    kept = letters[lettered].astype(np.uint64)
    before = np.cumsum(lettered) - lettered  # place among the kept letters
    firsts = before[starts]
    sizes = np.diff(np.append(firsts, len(kept)))
    places = np.arange(len(kept)) - np.repeat(firsts, sizes)
    terms = _mixed(kept) * _powers(_LETTER, int(sizes.max()))[places]
    return _mixed(np.add.reduceat(terms, firsts))


def _windows(units: Hashes, length: int) -> Hashes:
    """A polynomial hash of the `length` units from every unit on, modulo 2^64."""
    total = len(units) - length + 1
    hashes = np.zeros(total, np.uint64)
    for place in range(length):
        hashes *= np.uint64(_UNIT)
        hashes += units[place : place + total]
    return hashes


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _mixed(values: Hashes) -> Hashes:
    """splitmix64's last steps (G. Steele et al., OOPSLA 2014): every bit depends on all."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
