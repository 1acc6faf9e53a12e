"""The global order: the same for any cut, any workers, any packing, and after any resume."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
from data.sources import counted
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from marco.data.batches import POSITION, Cut, MicroBatch, MixedBatches
from marco.data.ledger import FIELDS
from marco.data.packing import PackingName
from marco.data.stores import Source
from marco.data.windows import IGNORED
from marco.mixing import MixSchedule, QuotaOrder, Segment

LENGTH = 6
SHARES = {"eng": 0.5, "swh": 0.3, "tha": 0.2}
OTHER = {"eng": 0.1, "swh": 0.2, "tha": 0.7}
PACKINGS: list[PackingName] = ["concat", "best_fit"]
SIZES = {"eng": [5, 9, 2, 21, 4, 13], "swh": [3, 3, 17, 8], "tha": [7]}


def sources(masked: Sequence[int] = ()) -> list[Source]:
    return [
        counted(name, lengths, 1000 * number + 1, masked)
        for number, (name, lengths) in enumerate(SIZES.items())
    ]


def batches(
    cut: Cut,
    steps: int,
    positions: dict[str, list[int]] | None = None,
    *,
    pack: PackingName = "concat",
    seed: int = 4,
    of: list[Source] | None = None,
) -> MixedBatches:
    """A mix that moves linearly and then stays, so that a stage boundary is crossed."""
    schedule = MixSchedule((Segment("a", 150, SHARES, OTHER), Segment("b", 900, OTHER, OTHER)))
    return MixedBatches(
        sources() if of is None else of,
        partial(QuotaOrder, schedule, LENGTH),
        length=LENGTH,
        pack=pack,
        cut=cut,
        seed=seed,
        steps=steps,
        token_bytes=np.ones(4000, np.int64),
        positions=positions,
    )


def resumed(batch: MicroBatch) -> dict[str, list[int]]:
    return dict(zip(SIZES, batch["positions"].tolist(), strict=True))


def rows_of(ranks: list[list[MicroBatch]], key: str) -> torch.Tensor:
    """All sequences in their global order, put together from what each process got."""
    rows = [micro[key] for micros in zip(*ranks, strict=True) for micro in micros]  # type: ignore[literal-required]
    return torch.cat(rows)


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize("world", [1, 2, 4, 8])
@pytest.mark.parametrize("micro", [1, 2])
def test_any_number_of_processes_serves_one_order(
    world: int, micro: int, pack: PackingName
) -> None:
    whole = [list(batches(Cut(16, 16), 3, pack=pack))]
    ranks = [list(batches(Cut(16, micro, rank, world), 3, pack=pack)) for rank in range(world)]
    for key in ("input_ids", "labels", "position_ids", "source", "draw"):
        assert torch.equal(rows_of(ranks, key), rows_of(whole, key))
    steps = [batch["target_tokens"] for batch in ranks[-1]][:: 16 // (micro * world)]
    assert steps == [batch["target_tokens"] for batch in whole[0]]


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_serves_one_order(workers: int, pack: PackingName) -> None:
    plain = list(batches(Cut(8, 2), 3, pack=pack))
    loader = DataLoader(batches(Cut(8, 2), 3, pack=pack), batch_size=None, num_workers=workers)
    found = list(loader)
    assert len(found) == len(plain) == 12
    for one, other in zip(plain, found, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)  # type: ignore[literal-required]


@settings(deadline=None, max_examples=40)
@given(
    killed=st.integers(0, 12),
    world=st.sampled_from([1, 2, 4, 8]),
    pack=st.sampled_from(PACKINGS),
    seed=st.integers(0, 9),
)
def test_resuming_goes_on_exactly(killed: int, world: int, pack: PackingName, seed: int) -> None:
    whole = list(batches(Cut(8, 8), 12, pack=pack, seed=seed))
    state = resumed(whole[killed - 1]) if killed else None
    rest = [
        list(batches(Cut(8, 1, rank, world), 12 - killed, state, pack=pack, seed=seed))
        for rank in range(world)
    ]
    expected = [batch["input_ids"] for batch in whole[killed:]]
    if expected:
        assert torch.equal(rows_of(rest, "input_ids"), torch.cat(expected))


@settings(deadline=None, max_examples=25)
@given(
    lengths=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=9), min_size=3, max_size=3),
    pack=st.sampled_from(PACKINGS),
    seed=st.integers(0, 9),
)
def test_every_token_the_ledger_claims_was_served_once(
    lengths: list[list[int]], pack: PackingName, seed: int
) -> None:
    """And nothing else: per source, whole rounds of its tokens plus a part of the next."""
    of = [
        counted(name, sizes, 1000 * number + 1)
        for number, (name, sizes) in enumerate(zip(SIZES, lengths, strict=True))
    ]
    served = [np.zeros(len(source.store), int) for source in of]
    counts, ended = np.zeros((3, len(FIELDS)), int), np.zeros(3, int)
    for batch in batches(Cut(4, 4), 15, pack=pack, seed=seed, of=of):
        for row in range(4):
            source = int(batch["source"][row])
            counts[source] += batch["counts"][row].numpy()
            for token, label in zip(batch["input_ids"][row], batch["labels"][row], strict=True):
                if label > 0:
                    assert token in (label - 1, 0)  # its own predecessor, or a document's start
                    served[source][int(label) - 1000 * source - 1] += 1
                ended[source] += int(label == 0)
    for source in range(3):
        found = dict(zip(FIELDS, counts[source], strict=True))
        assert served[source].sum() + ended[source] == found["tokens"] == found["target_tokens"]
        assert ended[source] == found["documents"]
        assert (found["tokens"] + found["padding"]) % LENGTH == 0
        inside = served[source][of[source].store.read(0, len(served[source])) > 0]
        if len(inside):
            assert inside.max() - inside.min() <= (1 if pack == "best_fit" else 2)


@pytest.mark.parametrize("pack", PACKINGS)
def test_mix_is_kept_at_every_prefix(pack: PackingName) -> None:
    schedule = MixSchedule((Segment("a", 150, SHARES, OTHER), Segment("b", 900, OTHER, OTHER)))
    tokens = np.zeros(3)
    for batch in batches(Cut(1, 1), 300, pack=pack):
        tokens[int(batch["source"])] += batch["counts"][0, FIELDS.index("tokens")].item()
        fluid = [float(schedule.tokens(name, int(tokens.sum()))) for name in SIZES]
        assert np.all(np.abs(tokens - fluid) < (1 if pack == "concat" else 2) * LENGTH)
        assert batch["positions"][:, POSITION.index("tokens")].tolist() == tokens.tolist()


def test_what_a_row_says_is_true() -> None:
    for batch in batches(Cut(4, 2), 10):
        assert batch["target_tokens"] == 4 * LENGTH
        assert batch["input_ids"].shape == batch["labels"].shape == (2, LENGTH)
        for row in range(2):
            ids = batch["input_ids"][row]
            assert torch.all((ids[ids > 0] - 1) // 1000 == batch["source"][row])
            assert torch.equal(ids[1:], batch["labels"][row, :-1])


@pytest.mark.parametrize("pack", PACKINGS)
def test_targets_are_those_of_the_whole_global_batch(pack: PackingName) -> None:
    masked = [2, 3, 1002, 1007, 1008, 2001, 2002, 2003]
    ranks = [
        list(batches(Cut(8, 2, rank, 2), 6, pack=pack, of=sources(masked))) for rank in range(2)
    ]
    for step in range(6):
        micros = [micro for rank in ranks for micro in rank[2 * step : 2 * step + 2]]
        targets = sum(int((micro["labels"] != IGNORED).sum()) for micro in micros)
        assert {micro["target_tokens"] for micro in micros} == {targets}
        assert targets < 8 * LENGTH


def test_language_without_share_is_never_served() -> None:
    only = {"eng": 1.0, "swh": 0.0, "tha": 0.0}
    source = MixedBatches(
        sources(),
        partial(QuotaOrder, MixSchedule((Segment("", 900, only, only),)), LENGTH),
        length=LENGTH,
        cut=Cut(4, 4),
        seed=0,
        steps=5,
        token_bytes=np.ones(4000, np.int64),
    )
    last = list(source)[-1]["positions"]
    assert last[:, POSITION.index("draws")].tolist() == [20, 0, 0]


def test_uneven_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="divide"):
        Cut(8, 3)


@pytest.mark.parametrize("pack", PACKINGS)
def test_a_branch_serves_what_comes_next_of_every_source(pack: PackingName) -> None:
    """The mix counts from the branch on; each source's own sequences go on."""
    whole = list(batches(Cut(8, 8), 12, pack=pack))
    place = resumed(whole[2])
    branch = batches(
        Cut(8, 8), 4, {name: [0, 0, *served[2:]] for name, served in place.items()}, pack=pack
    )
    branch.before = {name: served[0] for name, served in place.items()}
    found = list(branch)

    def served(batch: MicroBatch) -> dict[tuple[int, int], list[int]]:
        keys = zip(batch["source"].tolist(), batch["draw"].tolist(), strict=True)
        return dict(zip(keys, batch["input_ids"].tolist(), strict=True))

    before = {key for batch in whole[:3] for key in served(batch)}
    expected = {key: ids for batch in whole for key, ids in served(batch).items()}
    mine = {key: ids for batch in found for key, ids in served(batch).items()}
    assert len(mine) == 32
    assert not before & set(mine)
    shared = set(mine) & set(expected)
    assert len(shared) > 20
    assert all(mine[key] == expected[key] for key in shared)
    fresh = list(batches(Cut(8, 8), 4, pack="concat"))
    if pack == "concat":  # where all sequences have one size, the order is that of a new run
        assert [b["source"].tolist() for b in found] == [b["source"].tolist() for b in fresh]
