"""The global order: the same for any cut, any workers, and after any resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from marco.data.batches import Cut, MixedBatches
from marco.data.streams import TokenStream

LENGTH = 6
SHARES = {"eng": 0.5, "swh": 0.3, "tha": 0.2}


def streams() -> list[TokenStream]:
    found = []
    for number, (language, size) in enumerate({"eng": 91, "swh": 40, "tha": 7}.items()):
        tokens = np.arange(1000 * number + 1, 1000 * number + size + 1, dtype=np.int32)
        tokens[::5] = 0
        found.append(TokenStream(language, tokens, 0, 3, size))
    return found


def batches(
    cut: Cut, steps: int, counters: dict[str, int] | None = None, seed: int = 4
) -> MixedBatches:
    return MixedBatches(
        streams(), SHARES, length=LENGTH, cut=cut, seed=seed, steps=steps, counters=counters
    )


def served(cut_of_rank: list[Cut], steps: int) -> torch.Tensor:
    """All sequences in their global order, put together from what each process got."""
    ranks = [list(batches(cut, steps)) for cut in cut_of_rank]
    rows = []
    for micros in zip(*ranks, strict=True):
        rows += [micro["input_ids"] for micro in micros]
    return torch.cat(rows)


@pytest.mark.parametrize("world", [1, 2, 4, 8])
@pytest.mark.parametrize("micro", [1, 2])
def test_any_number_of_processes_serves_one_order(world: int, micro: int) -> None:
    whole = served([Cut(16, 16)], steps=3)
    cuts = [Cut(16, micro, rank, world) for rank in range(world)]
    assert torch.equal(served(cuts, steps=3), whole)


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_serves_one_order(workers: int) -> None:
    plain = list(batches(Cut(8, 2), steps=3))
    loader = DataLoader(batches(Cut(8, 2), steps=3), batch_size=None, num_workers=workers)
    found = list(loader)
    assert len(found) == len(plain) == 12
    for one, other in zip(plain, found, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)  # type: ignore[literal-required]


@settings(deadline=None, max_examples=40)
@given(killed=st.integers(0, 12), world=st.sampled_from([1, 2, 4]))
def test_resuming_goes_on_exactly(killed: int, world: int) -> None:
    whole = list(batches(Cut(8, 8), steps=12))
    state = (
        dict(zip(SHARES, whole[killed - 1]["counters"].tolist(), strict=True)) if killed else None
    )
    rest = [
        list(batches(Cut(8, 2, rank, world), steps=12 - killed, counters=state))
        for rank in range(world)
    ]
    rows = [micro["input_ids"] for micros in zip(*rest, strict=True) for micro in micros]
    expected = [batch["input_ids"] for batch in whole[killed:]]
    assert len(rows) * 2 == len(expected) * 8
    if expected:
        assert torch.equal(torch.cat(rows), torch.cat(expected))


def test_mix_is_kept_at_every_prefix() -> None:
    counts = np.zeros(3)
    for number, batch in enumerate(batches(Cut(1, 1), steps=500), start=1):
        counts[int(batch["source"])] += 1
        assert np.all(np.abs(counts - number * np.array(list(SHARES.values()))) < 1)
        assert batch["counters"].tolist() == counts.tolist()


def test_what_a_row_says_is_true() -> None:
    for batch in batches(Cut(4, 2), steps=10):
        assert batch["target_tokens"] == 4 * LENGTH
        assert batch["input_ids"].shape == batch["labels"].shape == (2, LENGTH)
        for row in range(2):
            ids, language = batch["input_ids"][row], batch["language_ids"][row]
            assert torch.all(language == batch["source"][row])
            kept = ids[ids > 0]
            assert torch.all((kept - 1) // 1000 == language[ids > 0])
            assert torch.equal(batch["input_ids"][row, 1:], batch["labels"][row, :-1])


def test_language_without_share_is_never_served() -> None:
    source = MixedBatches(
        streams(),
        {"eng": 1.0, "swh": 0.0, "tha": 0.0},
        length=LENGTH,
        cut=Cut(4, 4),
        seed=0,
        steps=5,
    )
    assert [batch["counters"].tolist() for batch in source][-1] == [20, 0, 0]


def test_uneven_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="divide"):
        Cut(8, 3)
