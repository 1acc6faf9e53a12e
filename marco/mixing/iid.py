"""The source of every sequence drawn by chance, as most trainers do it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from marco.mixing.order import Order, hashed
from marco.mixing.schedule import MixSchedule, Segment


class IidOrder(Order):
    """Each sequence is of source i with the probability that is i's share at that token.

    The draw is a hash of seed and step, so the state is as small as that of ``QuotaOrder``. A
    source strays from its share by about the square root of its sequences, and passes an epoch cap
    by as much: the schedule's limits hold on average only.
    """

    def __init__(
        self,
        schedule: MixSchedule,
        length: int,
        size: Callable[[int, int], int] | None = None,
        *,
        seed: int,
    ) -> None:
        """See :class:`Order`; ``seed`` decides the draws."""
        super().__init__(schedule, length, size)
        self._salt = hashed(seed)
        # By name, so that the order in which sources are listed changes nothing.
        self._by_name = sorted(range(len(self.names)), key=self.names.__getitem__)
        self._bounds: tuple[Segment, list[int]] | None = None

    def next(self) -> int:
        """Return the index in ``names`` of the source that serves the next sequence."""
        drawn = bisect_right(self._upper_bounds(), hashed(self._salt ^ self._step))
        index = self._by_name[drawn]
        self._count(index, self._next_size(index))
        return index

    def _upper_bounds(self) -> list[int]:
        """Return where each source's part of the 2**64 hashes ends, by name."""
        segment = self.schedule.segment_at(self._position)
        if self._bounds is not None and self._bounds[0] is segment:
            return self._bounds[1]
        shares = self.schedule.shares_at(self._position)
        sums = list(accumulate(shares[self.names[index]] for index in self._by_name))
        bounds = [int(value / sums[-1] * 2**64) for value in sums]
        if segment.constant:
            self._bounds = (segment, bounds)
        return bounds
