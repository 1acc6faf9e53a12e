from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marco.evaluation.packing import Window, pack, windows


@given(
    targets=st.integers(0, 200),
    row_length=st.integers(1, 40),
    share=st.floats(0, 0.99),
    scored_from=st.integers(0, 200),
)
def test_every_target_is_scored_exactly_once(
    targets: int, row_length: int, share: float, scored_from: int
) -> None:
    overlap = int(share * row_length)
    scored_from = min(scored_from, targets)
    found = windows(7, targets, row_length, overlap, scored_from)
    scored = [
        target
        for window in found
        for target in range(window.start + window.skip, window.start + window.length)
    ]
    assert scored == list(range(scored_from, targets))
    for window in found:
        assert window.sequence == 7
        assert 0 < window.length <= row_length
        assert window.start == 0 or window.skip == overlap or targets <= row_length


def test_a_sequence_that_fits_is_not_cut_and_keeps_its_whole_prefix() -> None:
    assert windows(0, 10, row_length=10, overlap=5, scored_from=8) == [Window(0, 0, 10, 8)]


def test_a_long_sequence_overlaps_by_what_was_asked() -> None:
    assert windows(0, 10, row_length=6, overlap=2) == [Window(0, 0, 6, 0), Window(0, 4, 6, 2)]


@given(lengths=st.lists(st.integers(1, 16), max_size=60))
def test_rows_hold_every_window_once_and_never_overflow(lengths: list[int]) -> None:
    pieces = [Window(index, 0, length, 0) for index, length in enumerate(lengths)]
    rows = pack(pieces, 16)
    assert sorted((p for row in rows for p in row), key=lambda p: p.sequence) == pieces
    assert all(0 < sum(p.length for p in row) <= 16 for row in rows)
    # no two rows could have been one: the packing leaves at most one row half empty
    assert sum(sum(p.length for p in row) <= 8 for row in rows) <= 1
