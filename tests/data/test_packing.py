"""How documents become sequences: nothing lost, nothing twice, whole where it fits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from data.sources import counted
from hypothesis import given
from hypothesis import strategies as st

from marco.data import packing as module
from marco.data.packing import BestFit, Concat, best_fit
from marco.data.stores import Source

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def epochs_of(packed: Concat | BestFit, source: Source, epochs: int) -> np.ndarray:
    """How often each token is served by the sequences of so many epochs of best_fit."""
    served = np.zeros(len(source.store), int)
    draw = total = 0
    while total < epochs * len(source.store):
        for start, stop in packed.pieces(draw):
            served[start:stop] += 1
            total += stop - start
        draw += 1
    return served


@given(lengths=LENGTHS, length=st.integers(1, 20), seed=st.integers(0, 5))
def test_concat_serves_every_window_of_every_epoch_once(
    lengths: list[int], length: int, seed: int
) -> None:
    packed = Concat(counted("swh", lengths), length, seed)
    count = packed.windows
    assert (count - 1) * length < sum(lengths) <= count * length
    for epoch in range(3):
        drawn = [packed.window_index(epoch * count + place) for place in range(count)]
        assert sorted(drawn) == list(range(epoch * count, (epoch + 1) * count))


@given(lengths=LENGTHS, length=st.integers(1, 20))
def test_concat_serves_all_tokens_evenly(lengths: list[int], length: int) -> None:
    source = counted("swh", lengths)
    packed = Concat(source, length, seed=1)
    served = np.zeros(len(source.store), int)
    for draw in range(3 * packed.windows):
        pieces = packed.pieces(draw)
        assert sum(stop - start for start, stop in pieces) == length
        for start, stop in pieces:
            served[start:stop] += 1
    assert served.max() - served.min() <= 1


@given(lengths=LENGTHS, length=st.integers(1, 20), seed=st.integers(0, 3))
def test_best_fit_serves_every_token_once_an_epoch(
    lengths: list[int], length: int, seed: int
) -> None:
    source = counted("swh", lengths)
    served = epochs_of(BestFit(source, length, seed), source, 3)
    assert set(served) == {3}


@given(lengths=LENGTHS, length=st.integers(1, 20))
def test_best_fit_keeps_documents_whole_where_they_fit(lengths: list[int], length: int) -> None:
    ends = np.cumsum([0, *lengths]).tolist()
    windows = best_fit(list(pairwise(ends)), length)
    pieces = [piece for window in windows for piece in window]
    for start, stop in pairwise(ends):
        inside = sorted(piece for piece in pieces if start <= piece[0] < stop)
        assert len(inside) == -(-(stop - start) // length)
        assert inside[0][0] == start
        assert inside[-1][1] == stop
        assert all(one[1] == other[0] for one, other in pairwise(inside))
    sizes = [sum(stop - start for start, stop in window) for window in windows]
    assert max(sizes) <= length
    # best-fit decreasing opens a window only when no other has room: at most one is half empty
    assert sum(2 * size <= length for size in sizes) <= 1


def test_best_fit_takes_the_fullest_window_with_room() -> None:
    # longest first: 7 | 6, then 3 goes to the 7 (room 3), 2 to the 6 (room 4), 2 to what is left
    documents = [(0, 6), (6, 13), (13, 15), (15, 18), (18, 20)]
    assert best_fit(documents, 10) == [[(6, 13), (15, 18)], [(0, 6), (13, 15), (18, 20)]]


def test_many_short_documents_fill_their_windows() -> None:
    lengths = np.random.default_rng(0).geometric(1 / 60, 4000).tolist()
    source = counted("swh", lengths)
    packed = BestFit(source, 512, seed=0)
    served = draws = 0
    while served < sum(lengths):
        served += sum(stop - start for start, stop in packed.pieces(draws))
        draws += 1
    assert served == sum(lengths)
    assert served / (draws * 512) > 0.99


@pytest.mark.parametrize("kind", [Concat, BestFit])
def test_order_depends_on_seed_source_and_epoch(kind: type[Concat] | type[BestFit]) -> None:
    def drawn(name: str, seed: int, draws: range) -> list[list[tuple[int, int]]]:
        packed = kind(counted(name, [8] * 60), 8, seed)
        return [packed.pieces(draw) for draw in range(draws.stop)][draws.start :]

    first = drawn("swh", 1, range(60))
    assert first == drawn("swh", 1, range(60))
    assert first != drawn("swh", 2, range(60))
    assert first != drawn("yor", 1, range(60))
    assert first != drawn("swh", 1, range(60, 120))
    assert sorted(first) == sorted(drawn("swh", 1, range(60, 120)))


@pytest.mark.parametrize("kind", [Concat, BestFit])
def test_parts_are_served_one_after_the_other(
    kind: type[Concat] | type[BestFit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading stays in one place of the disk for a while; the places are shuffled too."""
    monkeypatch.setattr(module, "PART_TOKENS", 80)
    monkeypatch.setattr(module, "PART_DOCUMENTS", 10)
    packed = kind(counted("swh", [8] * 65), 8, 3)
    parts = [packed.pieces(draw)[0][0] // 80 for draw in range(65)]
    seen = [part for part, before in zip(parts, [-1, *parts], strict=False) if part != before]
    assert len(seen) == 7
    assert seen != sorted(seen)
    assert sorted(parts) == sorted(place // 10 for place in range(65))


@given(lengths=LENGTHS, killed=st.integers(0, 60))
def test_best_fit_goes_on_from_its_state(lengths: list[int], killed: int) -> None:
    source = counted("swh", lengths)
    whole, resumed = BestFit(source, 16, 0), BestFit(source, 16, 0)
    expected = [whole.pieces(draw) for draw in range(killed)]
    whole.pieces(killed)
    resumed.restore(whole.state)
    assert len(expected) == killed
    for draw in range(killed, killed + 20):
        assert resumed.pieces(draw) == whole.pieces(draw)
