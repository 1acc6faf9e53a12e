"""Names and random numbers that depend on what a pair says, and on nothing else.

Python's own `hash` differs between processes; BLAKE2 is the same on every machine. A pair's place
in its file does not enter, so that sorting, splitting or shuffling files changes no rendering.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

#: 96 bits: among ten billion pairs, two share a name with probability 6e-10.
ID_BYTES = 12


def texts_id(texts: Mapping[str, str]) -> bytes:
    """Return the name, `ID_BYTES` long, of texts by language; their order does not matter."""
    digest = hashlib.blake2b(digest_size=ID_BYTES)
    for code in sorted(texts):
        text = texts[code].encode()
        digest.update(f"{code}:{len(text)}:".encode())  # the length: no two sets run together
        digest.update(text)
    return digest.digest()


def uniform(seed: int, id: bytes, purpose: str) -> float:
    """Return the number in [0, 1) that belongs to a seed, a name and what it is drawn for."""
    drawn = hashlib.blake2b(f"{seed}:{purpose}:".encode() + id, digest_size=8).digest()
    return float((int.from_bytes(drawn, "big") >> 11) / 2**53)
