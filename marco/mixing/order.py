"""What every order of sequences keeps: how often, and how much, each source was served."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from marco.errors import CheckpointError
from marco.mixing.schedule import MixSchedule

_MASK = 2**64 - 1


class Order(ABC):
    """Which source serves which global sequence.

    Args:
        schedule: the shares over the run.
        length: tokens of the longest sequence.
        size: tokens, 1 to ``length``, of a source's sequence, by the source's index and how many it
            served before (packing that pads). None: always ``length``.
    """

    def __init__(
        self, schedule: MixSchedule, length: int, size: Callable[[int, int], int] | None = None
    ) -> None:
        """Start at token 0."""
        self.schedule = schedule
        self.length = length
        self.names = schedule.names
        self._size = size
        self._draws = [0] * len(self.names)
        self._tokens = [0] * len(self.names)
        self._step = 0
        self._position = 0

    @property
    def draws(self) -> list[int]:
        """Sequences served so far by each source, in the order of ``names`` (a copy)."""
        return list(self._draws)

    @property
    def tokens(self) -> list[int]:
        """Tokens served so far by each source, in the order of ``names`` (a copy)."""
        return list(self._tokens)

    @property
    def position(self) -> int:
        """Tokens served so far."""
        return self._position

    @property
    def step(self) -> int:
        """Sequences served so far: the index of the next one."""
        return self._step

    @abstractmethod
    def next(self) -> int:
        """Return the index in ``names`` of the source that serves the next sequence."""

    def take(self, count: int) -> list[int]:
        """Return the sources of the next ``count`` sequences."""
        return [self.next() for _ in range(count)]

    def state_dict(self) -> dict[str, list[int]]:
        """Return sequences and tokens served so far, by source: all there is to know."""
        served = zip(self.names, self._draws, self._tokens, strict=True)
        return {name: [draws, tokens] for name, draws, tokens in served}

    def load_state_dict(self, state: Mapping[str, Sequence[int]]) -> None:
        """Go to a saved state, in a time that does not depend on how far the run had come.

        Raises:
            CheckpointError: the state has other sources than this order, which it names, or
                numbers that cannot be.
        """
        missing = [name for name in self.names if name not in state]
        surplus = [name for name in state if name not in self.names]
        if missing or surplus:
            parts = [f"it lacks {', '.join(missing)}"] if missing else []
            parts += [f"it has {', '.join(surplus)}"] if surplus else []
            raise CheckpointError(
                f"data order: the saved state is of other sources: {' and '.join(parts)}"
            )
        for name in self.names:
            self._check(name, state[name])
        self._draws = [state[name][0] for name in self.names]
        self._tokens = [state[name][1] for name in self.names]
        self._step, self._position = sum(self._draws), sum(self._tokens)

    def _check(self, name: str, served: Sequence[int]) -> None:
        if len(served) != 2 or not all(isinstance(n, int) and n >= 0 for n in served):
            raise CheckpointError(f"data order: '{name}' cannot have served {served!r}")
        draws, tokens = served
        most = draws * self.length
        if not (draws if self._size else most) <= tokens <= most:
            raise CheckpointError(
                f"data order: {draws:,} sequences of '{name}' cannot be {tokens:,} tokens, "
                f"with batch.sequence_length={self.length}"
            )

    def _next_size(self, index: int) -> int:
        """Return the tokens of a source's next sequence."""
        if self._size is None:
            return self.length
        size = self._size(index, self._draws[index])
        if not 1 <= size <= self.length:
            raise ValueError(
                f"{self.names[index]}: a sequence of {size} tokens, not 1 to {self.length}"
            )
        return size

    def _count(self, index: int, size: int) -> None:
        self._draws[index] += 1
        self._tokens[index] += size
        self._step += 1
        self._position += size


def hashed(value: int) -> int:
    """Hash 64 bits to 64 bits, the same on every machine (SplitMix64's finaliser)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
