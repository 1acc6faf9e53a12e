from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixing.mixes import constant, mixes, naive_order, schedules, within

from marco.errors import CheckpointError
from marco.mixing import Linear, MixSchedule, Point, QuotaOrder, Segment, Temperature, Uniform
from marco.mixing import marco_corpus as corpus

LENGTHS = st.sampled_from([1, 2, 7, 64, 512])


@settings(deadline=None)
@given(shares=mixes(), length=LENGTHS, count=st.integers(1, 200))
def test_constant_shares_are_served_in_the_order_of_pfair(
    shares: dict[str, float], length: int, count: int
) -> None:
    order = QuotaOrder(constant(shares), length)
    assert order.take(count) == naive_order(shares, count)


@settings(deadline=None)
@given(schedule=schedules(), length=LENGTHS, count=st.integers(1, 150), seed=st.integers(0, 9))
def test_every_prefix_is_within_a_sequence_of_what_is_due(
    schedule: MixSchedule, length: int, count: int, seed: int
) -> None:
    for size in (None, lambda source, draw: 1 + hash((seed, source, draw)) % length):
        order = QuotaOrder(schedule, length, size)
        draws, tokens = [0] * len(order.names), [0] * len(order.names)
        for step in range(count):
            index = order.next()
            tokens[index] += length if size is None else size(index, draws[index])
            draws[index] += 1
            assert within(schedule, tokens, length)
            assert (order.step, order.position) == (step + 1, sum(tokens))
        assert (order.draws, order.tokens) == (draws, tokens)


@settings(deadline=None)
@given(
    schedule=schedules(),
    length=LENGTHS,
    done=st.integers(0, 200),
    sizes=st.booleans(),
    elsewhere=st.integers(0, 9),
)
def test_counters_alone_continue_the_order(
    schedule: MixSchedule, length: int, done: int, sizes: bool, elsewhere: int
) -> None:
    size = (lambda source, draw: 1 + (source * 31 + draw * 17) % length) if sizes else None
    order = QuotaOrder(schedule, length, size)
    order.take(done)
    resumed = QuotaOrder(schedule, length, size)
    resumed.take(elsewhere)
    resumed.load_state_dict(order.state_dict())
    assert resumed.take(100) == order.take(100)
    assert resumed.state_dict() == order.state_dict()


@settings(deadline=None)
@given(shares=mixes(), seed=st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_the_listing(shares: dict[str, float], seed: object) -> None:
    names = list(shares)
    seed.shuffle(names)  # type: ignore[attr-defined]
    one = QuotaOrder(constant(shares), 8)
    other = QuotaOrder(constant({name: shares[name] for name in names}), 8)
    served = [one.names[index] for index in one.take(100)]
    assert [other.names[index] for index in other.take(100)] == served


def test_the_bound_holds_far_out() -> None:
    schedule = constant(Temperature(0.9).shares(corpus().sizes, 1))
    order = QuotaOrder(schedule, 4096)
    # Start a trillion sequences in, at the nearest whole numbers that add up.
    start = 10**12
    due = [schedule.tokens(name, start * 4096) / 4096 for name in order.names]
    draws = [int(value) for value in due]
    by_rest = sorted(range(len(due)), key=lambda i: draws[i] - due[i])
    for index in by_rest[: start - sum(draws)]:
        draws[index] += 1
    state = {name: [n, n * 4096] for name, n in zip(order.names, draws, strict=True)}
    order.load_state_dict(state)
    for _ in range(2000):
        order.next()
        assert within(schedule, order.tokens, 4096)


def test_equal_shares_serve_every_source_once_a_round_in_changing_order() -> None:
    order = QuotaOrder(constant(dict.fromkeys("abcdefgh", 0.125)), 100)
    rounds = [tuple(order.take(8)) for _ in range(50)]
    assert all(sorted(served) == list(range(8)) for served in rounds)
    assert len(set(rounds)) > 40
    assert len({served[0] for served in rounds}) == 8


def test_the_order_is_the_same_on_every_machine() -> None:
    order = QuotaOrder(constant({"eng": 0.5, "deu": 0.25, "swh": 0.25}), 256)
    served = [order.names[index] for index in order.take(12)]
    assert " ".join(served) == "eng swh eng deu eng deu eng swh eng swh deu eng"


def test_share_zero_is_never_served() -> None:
    order = QuotaOrder(constant({"eng": 0.0, "deu": 1.0}), 3)
    assert order.take(50) == [1] * 50


def test_a_source_joins_where_its_stage_begins_and_one_that_leaves_is_not_needed() -> None:
    first, last = {"eng": 1.0, "swh": 0.0}, {"eng": 0.0, "swh": 1.0}
    schedule = MixSchedule((Segment("a", 95, first, first), Segment("b", 300, last, last)))
    order = QuotaOrder(schedule, 10)
    # The tenth sequence of eng is half paid: there is no other to serve, or swh is as near.
    served = order.take(30)
    assert served[:9] == [0] * 9
    assert served[10:] == [1] * 20


def test_a_state_reached_under_other_shares_is_caught_up_with() -> None:
    before = QuotaOrder(constant({"eng": 0.9, "deu": 0.1, "swh": 0.0}), 16)
    before.take(1000)
    schedule = constant({"eng": 0.2, "deu": 0.3, "swh": 0.5})
    after = QuotaOrder(schedule, 16)
    after.load_state_dict(before.state_dict())
    assert 0 not in after.take(3000)
    after.take(2000)
    assert within(schedule, after.tokens, 16)


def test_counters_are_copies() -> None:
    order = QuotaOrder(constant({"eng": 0.5, "deu": 0.5}), 4)
    order.draws[0] = order.tokens[0] = 99
    assert order.state_dict() == {"eng": [0, 0], "deu": [0, 0]}


def test_a_state_that_cannot_be_is_refused() -> None:
    order = QuotaOrder(constant({"eng": 0.5, "deu": 0.5}), 4)
    order.take(3)
    before = order.state_dict()
    with pytest.raises(CheckpointError, match="it lacks deu and it has swh, yor"):
        order.load_state_dict({"eng": [1, 4], "swh": [1, 4], "yor": [1, 4]})
    with pytest.raises(CheckpointError, match=r"'deu' cannot have served \[-1, 0\]"):
        order.load_state_dict({"eng": [1, 4], "deu": [-1, 0]})
    with pytest.raises(CheckpointError, match=r"'deu' cannot have served \[3\]"):
        order.load_state_dict({"eng": [1, 4], "deu": [3]})
    with pytest.raises(CheckpointError, match=r"1 sequences of 'deu' cannot be 5 tokens"):
        order.load_state_dict({"eng": [1, 4], "deu": [1, 5]})
    assert order.state_dict() == before
    packed = QuotaOrder(constant({"eng": 1.0}), 4, lambda source, draw: 3)
    packed.load_state_dict({"eng": [2, 5]})
    with pytest.raises(CheckpointError, match="2 sequences of 'eng' cannot be 1 tokens"):
        packed.load_state_dict({"eng": [2, 1]})


@pytest.mark.parametrize("size", [0, 9])
def test_sizes_are_from_one_to_the_length(size: int) -> None:
    with pytest.raises(ValueError, match=rf"{size} tokens, not 1 to 8"):
        QuotaOrder(constant({"eng": 1.0}), 8, lambda source, draw: size).next()


def test_moving_shares_follow_the_parabola() -> None:
    rule = Linear({"start": Point(0.0, Uniform()), "end": Point(1.0, Temperature(1.0))})
    schedule = rule.schedule({"eng": 9000, "swh": 1000}, 10_000)
    order = QuotaOrder(schedule, 10)
    order.take(500)
    # Half-way: 5000 × 0.5 + (0.1 - 0.5) × 5000² / 20000 = 2000.
    assert abs(schedule.tokens("swh", 5000) - 2000) < Fraction(1, 10**6)
    assert abs(order.tokens[1] - 2000) <= 10
