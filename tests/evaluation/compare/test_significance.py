from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from marco.evaluation.compare.corrections import holm
from marco.evaluation.compare.significance import (
    Paired,
    Spread,
    mcnemar,
    of_seeds,
    sign_flip,
    t_interval,
    t_test,
)


def paired(before: np.ndarray, after: np.ndarray, weights: np.ndarray | None = None) -> Paired:
    return Paired(before, after, np.ones(before.shape[1]) if weights is None else weights)


def test_mcnemar_is_the_exact_test_less_half_of_what_was_seen() -> None:
    for better, worse in itertools.product(range(15), repeat=2):
        n, fewer = better + worse, min(better, worse)
        if n == 0:
            assert mcnemar(0, 0) == 1
            continue
        exact = 2 * stats.binom.cdf(fewer, n, 0.5)
        expected = min(1.0, exact - stats.binom.pmf(fewer, n, 0.5))
        assert mcnemar(better, worse) == mcnemar(worse, better) == pytest.approx(expected)
    assert mcnemar(10, 0) == pytest.approx(2**-10)


def test_sign_flips_of_few_items_are_all_tried() -> None:
    generator = np.random.default_rng(0)
    for n in (1, 4, 9):
        values = generator.normal(0.3, 1, n)
        sums = [abs(np.dot(s, values)) for s in itertools.product((-1, 1), repeat=n)]
        expected = np.mean([total >= abs(values.sum()) - 1e-12 for total in sums])
        padded = np.concatenate([values, np.zeros(5)])
        assert sign_flip(padded, generator) == pytest.approx(expected)
    assert sign_flip(np.zeros(8), generator) == 1


def test_sign_flips_of_many_items_agree_with_scipys() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(0.15, 1, 150)
    theirs = stats.permutation_test(
        (values,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        n_resamples=9999,
        rng=np.random.default_rng(2),
    )
    assert sign_flip(values, generator) == pytest.approx(theirs.pvalue, abs=0.02)
    assert sign_flip(np.ones(100), generator) == pytest.approx(1e-4)
    # items of equal size are drawn together, and come out the same
    equal = np.repeat([1.0, -1.0, 0.5, -0.5], [40, 24, 20, 30])
    apart = equal * (1 + 1e-12 * np.arange(len(equal)))
    assert sign_flip(equal, generator) == pytest.approx(sign_flip(apart, generator), abs=0.02)


def test_seeds_without_an_effect_of_items_are_welchs_test() -> None:
    # every item moves with its run: the items' own variance is nothing
    before, after = np.array([0.1, 0.2, 0.4]), np.array([0.5, 0.3, 0.6, 0.8])
    stderr, freedom = of_seeds(
        [paired(*(np.repeat(x[:, None], 50, axis=1) for x in (before, after)))]
    )
    welch = stats.ttest_ind(after, before, equal_var=False)
    difference = after.mean() - before.mean()
    assert t_test(difference, stderr, freedom) == pytest.approx(welch.pvalue)
    interval = welch.confidence_interval()
    assert t_interval(difference, stderr, freedom) == pytest.approx((interval.low, interval.high))


def test_one_run_varies_as_the_other_sides_seeds_do() -> None:
    several = np.array([0.1, 0.2, 0.4])
    sides = np.repeat(several[:, None], 50, axis=1), np.full((1, 50), 0.9)
    for before, after in (sides, sides[::-1]):
        stderr, freedom = of_seeds([paired(before, after)])
        assert stderr == pytest.approx(math.sqrt(several.var(ddof=1) * (1 / 3 + 1)))
        assert freedom == pytest.approx(2)
    with pytest.raises(ValueError, match="one run a side"):
        of_seeds([paired(np.zeros((1, 5)), np.zeros((1, 5)))])


def test_seeds_with_no_noise_of_their_own_are_the_paired_t_test() -> None:
    generator = np.random.default_rng(3)
    items = generator.normal(size=(2, 40))
    stderr, freedom = of_seeds([paired(*(np.repeat(side[None], 3, axis=0) for side in items))])
    theirs = stats.ttest_rel(items[1], items[0])
    assert t_test((items[1] - items[0]).mean(), stderr, freedom) == pytest.approx(theirs.pvalue)


def test_weights_are_a_ratio_of_sums() -> None:
    # doubling an item's weight is as good as having it twice, up to n - 1 for n
    generator = np.random.default_rng(4)
    before, after = generator.normal(size=(2, 3, 60))
    twice = np.repeat(np.arange(60), 1 + (np.arange(60) % 2))
    weights = 1.0 + np.arange(60) % 2
    weighted, _ = of_seeds([paired(before, after, weights / weights.mean())])
    repeated, _ = of_seeds([paired(before[:, twice], after[:, twice])])
    assert weighted == pytest.approx(repeated, rel=0.15)


def test_a_mean_over_languages_has_the_variance_of_its_parts() -> None:
    generator = np.random.default_rng(7)
    parts = [paired(*np.repeat(generator.normal(size=(2, 1, n)), 2, axis=1)) for n in (30, 50, 90)]
    alone = [of_seeds([part])[0] for part in parts]
    together, freedom = of_seeds(parts)
    assert together == pytest.approx(math.hypot(*alone) / 3)
    assert freedom == pytest.approx(167)


def test_infinite_freedom_is_the_normal_distribution() -> None:
    assert t_test(1.959963984540054, 1.0, math.inf) == pytest.approx(0.05)
    assert t_interval(0.0, 1.0, math.inf)[1] == pytest.approx(1.959963984540054)


def test_seeds_alone_give_no_language_in_95_of_100_repetitions() -> None:
    """The bar: two runs of equal chances, item by item, 29 languages of 200 items."""
    generator = np.random.default_rng(5)
    false = 0
    for _ in range(100):
        chances = generator.beta(2, 2, (29, 200))
        before, after = (generator.random((2, 29, 200)) < chances).astype(int)
        p = [
            mcnemar(int((a > b).sum()), int((a < b).sum()))
            for b, a in zip(before, after, strict=True)
        ]
        false += (holm(np.array(p)) <= 0.05).any()
    assert false <= 5


def test_five_points_on_200_items_are_found_among_29_languages() -> None:
    p = np.array([mcnemar(10, 0), *[mcnemar(3, 4)] * 28])
    assert (np.flatnonzero(holm(p) <= 0.05) == [0]).all()


def test_seeds_that_move_whole_languages_are_no_finding() -> None:
    """Three seeds a side, each with a shift of its own in every language: items alone mislead."""
    generator = np.random.default_rng(6)
    found = {"seeds": 0, "items": 0}
    for _ in range(60):
        difficulty = generator.normal(size=(10, 200))
        shifts = generator.normal(0, 0.1, (2, 3, 10))
        runs = difficulty + shifts[..., None] + generator.normal(0, 0.3, (2, 3, 10, 200))
        p: dict[str, list[float]] = {"seeds": [], "items": []}
        for language in range(10):
            before, after = runs[0, :, language], runs[1, :, language]
            spread = of_seeds([paired(before, after)])
            p["seeds"].append(t_test(after.mean() - before.mean(), *spread))
            p["items"].append(stats.ttest_rel(after[0], before[0]).pvalue)
        for kind, values in p.items():
            found[kind] += (holm(np.array(values)) <= 0.05).any()
    assert found["seeds"] <= 6
    assert found["items"] >= 50


def test_seeds_of_other_settings_say_how_these_vary() -> None:
    pair = Paired(np.array([[1.0]]), np.array([[2.0], [3.0]]), np.ones(1))
    known = Spread(0.5, 7)
    assert of_seeds([pair], (known, known)) == pytest.approx((math.sqrt(0.5 * 1.5), 7))
    stderr, freedom = of_seeds([pair], (known, Spread(0.2, 1)))
    assert stderr == pytest.approx(math.sqrt(0.5 + 0.1))
    assert freedom == pytest.approx(0.6**2 / (0.5**2 / 7 + 0.1**2 / 1))
