"""Directions: what the config may say, and that draws follow the weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.data.directions import Direction, Directions, draw
from marco.data.pair_hash import uniform
from marco.errors import ConfigError

CODES = ["eng", "swh", "yor", "arb"]
EVERY = list(permutations(CODES, 2))
ROWS = 20_000


def parse(written: str | Mapping[str, float]) -> Directions:
    return Directions.parse(written, "data.directions")


def counted(weights: Mapping[Direction, float], count: int, seed: int) -> Counter[Direction]:
    """How often each direction is drawn from ROWS rows."""
    drawn: Counter[Direction] = Counter()
    for row in range(ROWS):
        name = row.to_bytes(4, "big")
        drawn.update(
            draw(list(weights.items()), count, lambda n, name=name: uniform(seed, name, f"{n}"))
        )
    return drawn


def inclusion(weights: Mapping[Direction, float], count: int) -> dict[Direction, float]:
    """The exact probability of each direction to be among `count` draws without replacement."""
    found = dict.fromkeys(weights, 0.0)
    total = sum(weights.values())
    if count:
        for first, weight in weights.items():
            others = {way: other for way, other in weights.items() if way != first}
            found[first] += weight / total
            for way, probability in inclusion(others, count - 1).items():
                found[way] += weight / total * probability
    return found


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_draws_follow_the_weights(count: int, seed: int) -> None:
    weights = dict(zip(EVERY, [2, 1, 0.5, 4, 1, 1, 3, 1, 0.25, 1, 1, 8], strict=True))
    drawn = counted(weights, count, seed)
    assert drawn.total() == ROWS * count
    for way, probability in inclusion(weights, count).items():
        spread = math.sqrt(ROWS * probability * (1 - probability))
        assert abs(drawn[way] - ROWS * probability) < 4 * spread, way


def test_shares_of_one_draw_pass_a_chi_square_test() -> None:
    weights = {("eng", "swh"): 2.0, ("swh", "eng"): 1.0, ("eng", "yor"): 5.0}
    drawn = counted(weights, 1, seed=3)
    expected = {way: ROWS * weight / 8 for way, weight in weights.items()}
    statistic = sum((drawn[way] - count) ** 2 / count for way, count in expected.items())
    assert statistic < 13.8  # the 99.9 % quantile at two degrees of freedom


@given(
    st.dictionaries(st.sampled_from(EVERY), st.floats(1e-12, 1e12), min_size=1),
    st.integers(1, 14) | st.none(),
    st.integers(),
)
def test_nothing_is_drawn_twice(
    weights: dict[Direction, float], count: int | None, seed: int
) -> None:
    drawn = draw(list(weights.items()), count, lambda n: uniform(seed, b"row", f"{n}"))
    assert len(drawn) == len(set(drawn)) == min(len(weights), count or len(weights))
    assert set(drawn) <= set(weights)


def test_the_last_direction_is_drawn_where_rounding_passes_it() -> None:
    almost_one = math.nextafter(1, 0)
    weights = [(("eng", "swh"), 0.1), (("swh", "eng"), 0.2), (("eng", "yor"), 0.3)]
    assert draw(weights, 1, lambda _: almost_one) == [("eng", "yor")]


def test_rules() -> None:
    assert [parse("any_to_any").weight(*way) for way in EVERY] == [1.0] * 12
    english = parse("english_centric")
    assert {way for way in EVERY if english.weight(*way)} == {w for w in EVERY if "eng" in w}
    table = parse({"en-Swahili": 2, "swh_Latn-eng": 1, "yor-eng": 0})
    assert [table.weight(*way) for way in EVERY[:4]] == [2.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("english_centrik", "Did you mean 'english_centric'"),
        ({"eng-swh-yor": 1}, "two languages and one hyphen"),
        ({"eng": 1}, "two languages and one hyphen"),
        ({"eng-swahilli": 1}, r"data.directions.eng-swahilli: .*Did you mean 'Swahili'"),
        ({"eng-en": 1}, r"both sides are English \(eng\)"),
        ({"eng-swh": 1, "en-sw": 1}, "eng-swh is there twice"),
        ({"eng-swh": -1}, "0 or more"),
        ({"eng-swh": math.inf}, "finite"),
        ({"eng-swh": 0}, "no direction has a weight above 0"),
        ({}, "no direction has a weight above 0"),
    ],
)
def test_what_the_config_may_not_say(written: str | dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(written)


def test_directions_that_the_pairs_cannot_have() -> None:
    parse("english_centric").check(CODES, "k")
    with pytest.raises(ConfigError, match="no direction has a weight among swh, yor"):
        parse("english_centric").check(["swh", "yor"], "k")
    with pytest.raises(ConfigError, match=r"k.eng-fra: there are no pairs with French \(fra\)"):
        parse({"eng-swh": 1, "eng-fra": 1}).check(CODES, "k")
