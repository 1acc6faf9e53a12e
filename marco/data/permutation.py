"""Shuffling without memory: the place of one element in a seeded permutation, in O(1).

A Feistel network is a bijection of the numbers of 2h bits whatever its round function is; a
number outside of the range is sent through again until one inside comes out (cycle walking, Black
and Rogaway 2002, "Ciphers with arbitrary finite domains"). Six rounds of a good hash are more than
shuffling needs. A table of a terabyte's windows would take half a gigabyte for every source.
"""

from __future__ import annotations

import hashlib

from marco.mixing.order import hashed

_ROUNDS = 6


class Permutation:
    """A permutation of 0 … size − 1, decided by `key` alone, the same on every machine.

    `permutation[i]` takes about 5 µs.
    """

    def __init__(self, size: int, key: str) -> None:
        self.size = size
        self.key = key
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._low = (1 << self._half) - 1
        digest = hashlib.blake2b(key.encode(), digest_size=8 * _ROUNDS).digest()
        self._keys = [
            int.from_bytes(digest[8 * round_ : 8 * round_ + 8], "big") for round_ in range(_ROUNDS)
        ]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(index)
        value = self._through(index)
        while value >= self.size:
            value = self._through(value)
        return value

    def _through(self, value: int) -> int:
        left, right = value >> self._half, value & self._low
        for key in self._keys:
            left, right = right, left ^ (hashed(right ^ key) & self._low)
        return left << self._half | right
