"""Which sources of a schedule run out, and when, for the log."""

from __future__ import annotations

from collections.abc import Mapping

from marco.mixing.exhaustion import Policy, exhausted
from marco.mixing.schedule import MixSchedule

#: Sources named in a note.
_SHOWN = 5


def exhaustion_notes(planned: MixSchedule, limits: Mapping[str, int], policy: Policy) -> list[str]:
    """Say which sources run out, when, and what the shares are from there on."""
    final = exhausted(planned, limits, policy)
    said = []
    for token, names in endings(planned, final):
        shares = final.shares_at(token)
        largest = sorted(shares, key=lambda name: (-shares[name], name))[:_SHOWN]
        now = ", ".join(f"{name} {shares[name]:.1%}" for name in largest if shares[name])
        said.append(
            f"mix: {', '.join(names)} used up after {token:,} tokens; that share went to "
            f"the others, of which the largest now are: {now}"
        )
    if final.end < planned.end:
        ends = {
            name: planned.last_position(planned.names.index(name), limit)
            for name, limit in limits.items()
        }
        first = min((end, name) for name, end in ends.items() if end is not None)[1]
        said.append(
            f"mix: {first} is used up after {final.end:,} tokens, and the run ends there, "
            f"not after {planned.end:,}"
        )
    return said


def endings(planned: MixSchedule, final: MixSchedule) -> list[tuple[int, list[str]]]:
    """Return at which tokens sources run out, and which do: planned there, but no longer served."""
    found: list[tuple[int, list[str]]] = []
    known: set[str] = set()
    start = 0
    for segment in final.segments:
        wanted = planned.segment_at(start)
        gone = [
            name
            for name in final.names
            if name not in known
            and wanted.first[name] + wanted.last[name] > 0
            and segment.first[name] + segment.last[name] == 0
        ]
        if gone:
            found.append((start, gone))
            known.update(gone)
        start = segment.end
    return found
