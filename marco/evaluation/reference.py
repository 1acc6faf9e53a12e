"""The reference column: bits per byte of xz that has just read the same training text.

For one language, with xz(text) the compressed size in bytes,

    (xz(training + held-out) − xz(training)) · 8 / bytes(held-out),

documents joined by a newline and xz at its strongest (preset 9, extreme). Only the language's *own*
training text primes it. On the Universal Declaration's 29 languages (articles 0–25 and 26–30) the
mean over languages is 2.01; primed with all languages' training text at once it is 2.24, because
the other languages make the distances longer and the statistics worse, so the stronger reference
is the one kept.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marco.data.documents import Document

#: xz reads about 1.5 MB/s at this preset, so large corpora are cut: the last of the training text
#: (what the window would reach) and the first of the held-out text.
PRIMING_BYTES = 1 << 20
HELD_OUT_BYTES = 1 << 18


def xz_bits_per_byte(
    train: str,
    held_out: str,
    priming_bytes: int = PRIMING_BYTES,
    held_out_bytes: int = HELD_OUT_BYTES,
) -> float | None:
    """Return the reference of one language, or None without held-out text."""
    target = held_out.encode("utf-8")[:held_out_bytes]
    if not target:
        return None
    priming = train.encode("utf-8")[-priming_bytes:] if priming_bytes else b""
    joined = priming + b"\n" + target if priming else target
    alone = _size(priming) if priming else _size(b"")
    return (_size(joined) - alone) * 8 / len(target)


def xz_reference(
    train: Mapping[str, Sequence[Document]], held_out: Mapping[str, Sequence[Document]]
) -> dict[str, float]:
    """Return the reference of every language that has held-out text (0.2 s for UDHR's 29)."""
    found = {}
    for language, documents in held_out.items():
        value = xz_bits_per_byte(
            "\n".join(document.text for document in train.get(language, ())),
            "\n".join(document.text for document in documents),
        )
        if value is not None:
            found[language] = value
    return found


def _size(data: bytes) -> int:
    # A dictionary no larger than the text gives the same size; preset 9's own 64 MiB takes 670 MB
    # of memory and sixteen times as long on short texts.
    dictionary = max(1 << 16, 1 << (max(len(data), 1) - 1).bit_length())
    filters = [
        {
            "id": lzma.FILTER_LZMA2,
            "preset": 9 | lzma.PRESET_EXTREME,
            "dict_size": min(dictionary, 1 << 26),
        }
    ]
    return len(lzma.compress(data, filters=filters))
