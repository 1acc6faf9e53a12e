from __future__ import annotations

import pytest
from mixing.mixes import constant

from marco.mixing import IidOrder, MixSchedule, Segment

SHARES = {"eng": 0.6, "deu": 0.0, "swh": 0.3, "yor": 0.1}


def test_draws_follow_the_shares_and_the_seed() -> None:
    order = IidOrder(constant(SHARES), 8, seed=1)
    order.take(20_000)
    for name, draws in zip(order.names, order.draws, strict=True):
        # Four standard deviations of a binomial.
        assert abs(draws - 20_000 * SHARES[name]) <= 4 * (20_000 * SHARES[name]) ** 0.5
    assert order.position == 160_000
    other, same = IidOrder(constant(SHARES), 8, seed=2), IidOrder(constant(SHARES), 8, seed=1)
    first = same.take(100)
    assert other.take(100) != first
    assert first[:6] == [0, 3, 2, 0, 2, 2]


@pytest.mark.parametrize("done", [0, 1, 333])
def test_counters_alone_continue_the_order(done: int) -> None:
    first, last = {"eng": 1.0, "swh": 0.0}, {"eng": 0.0, "swh": 1.0}
    schedule = MixSchedule((Segment("", 2000, first, last), Segment("", 3000, last, last)))
    order = IidOrder(schedule, 7, lambda source, draw: 1 + (source + draw) % 7, seed=5)
    order.take(done)
    resumed = IidOrder(schedule, 7, lambda source, draw: 1 + (source + draw) % 7, seed=5)
    resumed.load_state_dict(order.state_dict())
    assert resumed.take(400) == order.take(400)
    order.take(300)
    assert order.position > 2000
    assert set(order.take(100)) == {1}


def test_the_listing_does_not_matter() -> None:
    order = IidOrder(constant(SHARES), 8, seed=3)
    other = IidOrder(constant(dict(reversed(SHARES.items()))), 8, seed=3)
    served = [order.names[index] for index in order.take(200)]
    assert [other.names[index] for index in other.take(200)] == served
