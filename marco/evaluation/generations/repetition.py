"""How much of a text is repeated: seq-rep-4."""

from __future__ import annotations

import regex

#: Unicode scripts written without spaces between words.
UNSPACED = ("Hani", "Hira", "Kana", "Khmr", "Lana", "Laoo", "Mymr", "Thai", "Yiii")

#: Longer than any word of the 438 declarations written with spaces (Greenlandic, 41 letters).
LONGEST_WORD = 50

_UNSPACED = "".join(rf"\p{{Script={name}}}" for name in UNSPACED)
_UNIT = regex.compile(rf"(?V1)[{_UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+")


def repetition(text: str, n: int = 4) -> float | None:
    """Return the share of a text's n-grams that it has had before: 1 - unique / all.

    This is seq-rep-n of Welleck et al., "Neural Text Generation with Unlikelihood Training" (ICLR
    2020), of words in place of tokens, so that vocabularies compare. In scripts without spaces
    a character is a word, and so it is in a "word" of more than :data:`LONGEST_WORD` characters
    (a model that says "aaaaa…"). None of a text without an n-gram.

    Real text repeats itself too. Of an article of the Universal Declaration it is on average .00 to
    .02 of the n-grams where words have spaces and in Chinese, .04 in Japanese, .07 in Khmer and
    Burmese, .08 in Thai, .09 in Lao, where a character says less than a word (``python -m
    bench.real_text``).
    """
    units = [
        part
        for unit in _UNIT.findall(text)
        for part in (unit if len(unit) > LONGEST_WORD else (unit,))
    ]
    grams = [tuple(units[i : i + n]) for i in range(len(units) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else None
