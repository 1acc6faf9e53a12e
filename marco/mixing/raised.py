"""A schedule in which some sources get more from a token on: replay that was decided on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from marco.mixing.schedule import MixSchedule, Segment, between


@dataclass(frozen=True)
class Raise:
    """From token ``at`` on, ``share`` of all tokens goes to ``sources`` besides what they have.

    The others give it in proportion; of ``sources`` each gets what it has of their tokens, or as
    much as the rest where none of them had any.
    """

    at: int
    sources: tuple[str, ...]
    share: float

    def mixed(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Return a segment's shares, changed."""
        have = sum(shares[name] for name in self.sources)
        given = min(self.share, 1 - have)
        rest = 1 - have
        found = {}
        for name, share in shares.items():
            if name not in self.sources:
                found[name] = share * (1 - given / rest) if rest > 0 else share
            elif have > 0:
                found[name] = share * (1 + given / have)
            else:
                found[name] = given / len(self.sources)
        return found


def raised(schedule: MixSchedule, changes: Sequence[Raise]) -> MixSchedule:
    """Return the schedule with the changes, in their order; what is before each stays as it was."""
    segments = schedule.segments
    for change in changes:
        result: list[Segment] = []
        start = 0
        for segment in segments:
            if segment.end <= change.at:
                result.append(segment)
            else:
                if start < change.at:
                    part = (change.at - start) / (segment.end - start)
                    middle = between(segment.first, segment.last, part)
                    result.append(replace(segment, end=change.at, last=middle))
                    segment = replace(segment, first=middle)
                result.append(
                    replace(
                        segment,
                        first=change.mixed(segment.first),
                        last=change.mixed(segment.last),
                    )
                )
            start = segment.end
        segments = tuple(result)
    return MixSchedule(segments)
