from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marco.errors import ConfigError, DataError
from marco.mixing import Natural, Rule, Temperature, Uniform, UniMax

NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=3)
SIZES = st.dictionaries(NAMES, st.integers(1, 10**13), min_size=1, max_size=40)


def fitting_budget(sizes: dict[str, int], cap: float) -> int:
    """Three quarters of the largest budget that UniMax accepts."""
    return max(1, math.floor(cap * sum(sizes.values()) * 3 / 4))


@settings(deadline=None)
@given(
    sizes=SIZES,
    rule=st.sampled_from([Uniform(), Natural(), Temperature(0.3), UniMax(1.0), UniMax(4.5)]),
    seed=st.integers(0, 99),
)
def test_shares_add_up_to_one_and_do_not_depend_on_the_order(
    sizes: dict[str, int], rule: Rule, seed: int
) -> None:
    budget = fitting_budget(sizes, rule.epoch_cap if isinstance(rule, UniMax) else 1.0)
    shares = rule.shares(sizes, budget)
    assert list(shares) == list(sizes)
    assert abs(math.fsum(shares.values()) - 1) <= 1e-12
    assert all(0 < share <= 1 for share in shares.values())

    shuffled = list(sizes)
    random.Random(seed).shuffle(shuffled)
    assert rule.shares({name: sizes[name] for name in shuffled}, budget) == shares


@settings(deadline=None)
@given(sizes=SIZES, cap=st.floats(0.01, 50), fraction=st.floats(0.01, 1.0))
def test_unimax_keeps_every_cap_and_is_uniform_above_it(
    sizes: dict[str, int], cap: float, fraction: float
) -> None:
    largest = math.floor(cap * sum(sizes.values()) * (1 - 1e-12))
    budget = max(1, math.floor(largest * fraction))
    if largest < 1:
        return
    tokens = {name: share * budget for name, share in UniMax(cap).shares(sizes, budget).items()}
    free = []
    for name, size in sizes.items():
        assert tokens[name] <= cap * size * (1 + 1e-12)
        if tokens[name] < cap * size * (1 - 1e-9):
            free.append(tokens[name])
    # Whoever is not capped gets the same, and no less than anyone who is.
    assert not free or min(free) == pytest.approx(max(tokens.values()), rel=1e-9)


@settings(deadline=None)
@given(sizes=SIZES)
def test_temperature_meets_uniform_at_0_and_natural_at_1(sizes: dict[str, int]) -> None:
    for alpha, rule in ((0.0, Uniform()), (1.0, Natural())):
        assert Temperature(alpha).shares(sizes, 1) == pytest.approx(
            rule.shares(sizes, 1), rel=1e-12
        )


def test_temperature_by_hand() -> None:
    # sqrt: 10 : 20 : 30
    shares = Temperature(0.5).shares({"swh": 100, "deu": 400, "eng": 900}, 1)
    assert shares == pytest.approx({"swh": 1 / 6, "deu": 2 / 6, "eng": 3 / 6}, rel=1e-15)


def test_unimax_by_hand() -> None:
    # 1,000 tokens, at most 2 epochs. Even part 250: yor is capped at 2 × 50 = 100. 900 left for
    # three, 300 each: swh is capped at 2 × 140 = 280. 620 left for two: 310 each.
    sizes = {"eng": 5000, "swh": 140, "deu": 400, "yor": 50}
    assert UniMax(2.0).shares(sizes, 1000) == {
        "eng": 0.31,
        "swh": 0.28,
        "deu": 0.31,
        "yor": 0.1,
    }
    # The largest budget that fits takes every language to its cap; one token more does not fit.
    full = UniMax(2.0).shares(sizes, 2 * 5590)
    assert full == pytest.approx(Natural().shares(sizes, 1), rel=1e-15)
    with pytest.raises(ConfigError, match=r"4 sources of 5,590 tokens .* largest budget .* 11,180"):
        UniMax(2.0).shares(sizes, 2 * 5590 + 1)


def test_the_epoch_cap_that_the_error_advises_works() -> None:
    sizes = {"eng": 300, "swh": 33}
    with pytest.raises(ConfigError, match=r"smallest epoch_cap for this budget 3\.01") as caught:
        UniMax(1.0).shares(sizes, 1000)
    assert "333" in str(caught.value)
    assert math.fsum(UniMax(3.01).shares(sizes, 1000).values()) == pytest.approx(1)


@pytest.mark.parametrize("rule", [Uniform(), Natural(), Temperature(0.3), UniMax(2.0)])
def test_a_language_without_text_is_named(rule: Rule) -> None:
    with pytest.raises(DataError, match="no training tokens for kaz, urd;"):
        rule.shares({"eng": 5, "kaz": 0, "urd": 0}, 4)
    with pytest.raises(DataError, match="corpus is empty"):
        rule.shares({}, 4)


def test_check_names_what_is_listed_twice() -> None:
    Uniform().check(["eng", "deu"])
    with pytest.raises(ConfigError, match="more than once in the data: deu"):
        Natural().check(["eng", "deu", "deu"])
    with pytest.raises(ConfigError, match=r"data\.languages"):
        Natural().check([])


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf])
def test_temperature_refuses_exponents(alpha: float) -> None:
    with pytest.raises(ConfigError, match=r"mix\.alpha="):
        Temperature(alpha)


@pytest.mark.parametrize("cap", [0.0, -1.0, math.nan, math.inf])
def test_unimax_refuses_caps(cap: float) -> None:
    with pytest.raises(ConfigError, match=r"mix\.epoch_cap="):
        UniMax(cap)


def test_unimax_refuses_an_empty_budget() -> None:
    with pytest.raises(ConfigError, match="budget above 0"):
        UniMax(1.0).shares({"eng": 1}, 0)
