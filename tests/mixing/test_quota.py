from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marco.errors import CheckpointError, ConfigError
from marco.mixing import QuotaOrder, Temperature, marco_corpus


@st.composite
def mixes(draw: st.DrawFn) -> dict[str, float]:
    """Shares of 1 to 60 sources over many orders of magnitude, some of them zero."""
    magnitude = st.one_of(st.just(0.0), st.floats(1e-7, 1.0), st.sampled_from([0.01, 0.5, 1.0]))
    weights = draw(st.lists(magnitude, min_size=1, max_size=60))
    weights[draw(st.integers(0, len(weights) - 1))] = 1.0
    total = sum(weights)
    return {f"source{index}": weight / total for index, weight in enumerate(weights)}


def exact(shares: dict[str, float]) -> list[Fraction]:
    parts = [Fraction(share) for share in shares.values()]
    return [part / sum(parts) for part in parts]


@settings(deadline=None)
@given(shares=mixes(), length=st.integers(1, 300))
def test_every_prefix_is_within_one_sequence_of_every_share(
    shares: dict[str, float], length: int
) -> None:
    order, wanted = QuotaOrder(shares), exact(shares)
    served = [0] * len(shares)
    for n in range(1, length + 1):
        index = order.next()
        assert wanted[index] > 0
        served[index] += 1
        assert all(abs(s - w * n) < 1 for s, w in zip(served, wanted, strict=True))
    assert order.counters == served
    assert order.step == length


@settings(deadline=None)
@given(shares=mixes(), done=st.integers(0, 400))
def test_counters_alone_continue_the_order(shares: dict[str, float], done: int) -> None:
    order = QuotaOrder(shares)
    order.take(done)
    resumed, sought = QuotaOrder(shares), QuotaOrder(shares)
    resumed.take(7)
    resumed.load_state_dict(order.state_dict())
    sought.seek(order.counters)
    expected = order.take(100)
    assert resumed.take(100) == expected
    assert sought.take(100) == expected


def test_the_bound_holds_for_long_and_far_out() -> None:
    shares = Temperature(0.9).shares(marco_corpus().sizes, 1)
    wanted = exact(shares)
    order = QuotaOrder(shares)
    # Start a trillion sequences in, at the nearest whole numbers that add up.
    start = 10**12
    counters = [int(w * start) for w in wanted]
    by_rest = sorted(range(len(wanted)), key=lambda i: counters[i] - wanted[i] * start)
    for index in by_rest[: start - sum(counters)]:
        counters[index] += 1
    order.seek(counters)
    for n in range(start + 1, start + 3001):
        counters[order.next()] += 1
        assert all(abs(s - w * n) < 1 for s, w in zip(counters, wanted, strict=True))


def test_equal_shares_serve_every_source_once_a_round_in_changing_order() -> None:
    order = QuotaOrder(dict.fromkeys("abcdefgh", 0.125))
    rounds = [tuple(order.take(8)) for _ in range(50)]
    assert all(sorted(served) == list(range(8)) for served in rounds)
    assert len(set(rounds)) > 40
    assert len({served[0] for served in rounds}) == 8


def test_the_order_is_the_same_on_every_machine_and_for_every_listing() -> None:
    shares = {"eng": 0.5, "deu": 0.25, "swh": 0.25}
    order = QuotaOrder(shares)
    served = [order.names[index] for index in order.take(12)]
    assert " ".join(served) == "eng swh eng deu eng deu eng swh eng swh deu eng"
    reversed_order = QuotaOrder(dict(reversed(shares.items())))
    assert [reversed_order.names[index] for index in reversed_order.take(12)] == served


def test_share_zero_is_never_served() -> None:
    order = QuotaOrder({"eng": 0.0, "deu": 1.0})
    assert order.take(50) == [1] * 50


def test_a_state_reached_under_other_shares_is_caught_up_with() -> None:
    before = QuotaOrder({"eng": 0.9, "deu": 0.1, "swh": 0.0})
    before.take(1000)
    shares = {"eng": 0.2, "deu": 0.3, "swh": 0.5}
    after = QuotaOrder(shares)
    after.load_state_dict(before.state_dict())
    assert 0 not in after.take(3000)
    after.take(2000)
    wanted = exact(shares)
    assert all(abs(s - w * after.step) < 1 for s, w in zip(after.counters, wanted, strict=True))


def test_counters_are_a_copy() -> None:
    order = QuotaOrder({"eng": 0.5, "deu": 0.5})
    order.counters[0] = 99
    assert order.counters == [0, 0]
    assert order.state_dict() == {"eng": 0, "deu": 0}


def test_a_state_of_other_sources_is_refused_by_name() -> None:
    order = QuotaOrder({"eng": 0.5, "deu": 0.5})
    order.take(3)
    before = order.state_dict()
    with pytest.raises(CheckpointError, match="it lacks deu and it has swh, yor"):
        order.load_state_dict({"eng": 1, "swh": 1, "yor": 1})
    with pytest.raises(CheckpointError, match="'deu' cannot have served -1"):
        order.load_state_dict({"eng": 1, "deu": -1})
    with pytest.raises(CheckpointError, match="1 counters for 2 sources"):
        order.seek([3])
    assert order.state_dict() == before


@pytest.mark.parametrize(
    "shares", [{}, {"eng": 0.9}, {"eng": 1.5, "deu": -0.5}, {"eng": float("nan")}]
)
def test_shares_that_are_none(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="share"):
        QuotaOrder(shares)
