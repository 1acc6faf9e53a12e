"""Cutting token sequences into windows and windows into rows: arithmetic, without torch."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one sequence that is run together.

    ``start`` and ``length`` are in target tokens of the sequence; the first ``skip`` of them are
    context here (an earlier window scored them, or nobody asked for them).
    """

    sequence: int
    start: int
    length: int
    skip: int


def windows(
    sequence: int, targets: int, row_length: int, overlap: int, scored_from: int = 0
) -> list[Window]:
    """Cut a sequence into windows of at most ``row_length`` so that each target is scored once.

    Only a sequence longer than a row is cut; then every window but the first starts ``overlap``
    targets before the first one it scores, and windows without a scored target are left out.
    ``overlap`` must be smaller than ``row_length``.
    """
    if scored_from >= targets:
        return []
    if targets <= row_length:
        return [Window(sequence, 0, targets, scored_from)]
    found: list[Window] = []
    done = scored_from
    while done < targets:
        start = 0 if not found and done < row_length else done - overlap
        end = min(start + row_length, targets)
        found.append(Window(sequence, start, end - start, done - start))
        done = end
    return found


def pack(pieces: Sequence[Window], row_length: int) -> list[list[Window]]:
    """Put windows into rows: longest first, each into the fullest row that still has space.

    (Best fit needs O(n log n) with a sorted list of the space left; first fit walks all rows.)
    """
    rows: list[list[Window]] = []
    space: list[tuple[int, int]] = []  # (targets that still fit, row), sorted
    for piece in sorted(pieces, key=lambda w: (-w.length, w.sequence, w.start)):
        at = bisect_left(space, (piece.length, -1))
        if at < len(space):
            left, row = space.pop(at)
        else:
            left, row = row_length, len(rows)
            rows.append([])
        rows[row].append(piece)
        if left > piece.length:
            insort(space, (left - piece.length, row))
    return rows
