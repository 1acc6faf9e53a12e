from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from compared_runs import run

from bench.ranking import false, share
from marco.evaluation.ranking.rank import Order, order
from marco.evaluation.ranking.settings import Setting

LANGUAGES = ("eng", "swh", "tha")
Values = dict[str, list[float]]


def ordered(runs: Sequence[Sequence[Values]], metric: str = "loss", level: float = 0.05) -> Order:
    """Rank settings: of each the runs, of each its items by language."""
    return order(
        [
            (Setting([str(place)], [], []), [run(values, metric) for values in of])
            for place, of in enumerate(runs)
        ],
        *("quiz", metric, LANGUAGES, level),
    )


def simulated(
    generator: np.random.Generator, effects: Sequence[float], seeds: int, items: int = 8
) -> list[list[Values]]:
    """Items vary most and are shared; runs vary by their seed, in all languages and in each."""
    hard = generator.normal(2, 0.3, (3, items))
    return [
        [
            {
                code: (
                    hard[place]
                    + effect
                    + shared
                    + generator.normal(0, 0.01)
                    + generator.normal(0, 0.05, items)
                ).tolist()
                for place, code in enumerate(LANGUAGES)
            }
            for shared in generator.normal(0, 0.02, seeds)
        ]
        for effect in effects
    ]


@pytest.mark.parametrize(("settings", "seeds"), [(3, 3), (5, 2)])
def test_settings_that_are_the_same_are_not_told_apart(settings: int, seeds: int) -> None:
    """At most five times in a hundred; more repetitions are in bench/ranking.py."""
    assert share(settings, seeds, gain=0.0, of=false, repetitions=100) <= 0.05


def test_a_planted_best_is_found_and_told_apart() -> None:
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(20):
        made = ordered(simulated(generator, [0.2, 0.25, 0.0, 0.3], 3))
        assert made.ranked[0].setting.values == ["2"]
        differences = [each.difference for each in made.ranked[1:] if each.difference]
        found += [each.verdict for each in differences] == ["worse"] * 3
        for each in made.ranked[1:]:
            assert each.difference is not None
            assert each.difference.difference == pytest.approx(each.value - made.ranked[0].value)
            assert each.difference.method == "seeds"
    assert found >= 19


def test_values_errors_and_winners() -> None:
    up = [{code: [1.0 + seed] * 4 for code in LANGUAGES} for seed in (0.0, 0.2, 0.4)]
    down = [{**values, "tha": [0.5] * 4, "eng": [3.0] * 4} for values in up]
    made = ordered([down, up])
    first, second = made.ranked
    assert first.setting.values == ["1"]
    assert first.value == pytest.approx(1.2)
    assert first.stderr == pytest.approx(0.2 / np.sqrt(3))
    assert second.languages == {"eng": 3.0, "swh": pytest.approx(1.2), "tha": 0.5}
    assert [(each.language, each.ranked) for each in made.winners] == [
        ("eng", 0),
        ("swh", 0),
        ("tha", 1),
    ]
    thai = made.winners[2]
    assert (thai.value, thai.overall) == (0.5, pytest.approx(1.2))
    assert thai.difference is not None
    assert thai.difference.difference == pytest.approx(-0.7)


def test_higher_may_be_better() -> None:
    low, high = ({code: [value] * 3 for code in LANGUAGES} for value in (0.2, 0.6))
    assert [each.setting.values for each in ordered([[low], [high]], "acc").ranked] == [
        ["1"],
        ["0"],
    ]


def test_single_runs_are_told_apart_by_their_items() -> None:
    generator = np.random.default_rng(0)
    (one,), (other,) = simulated(generator, [0.0, 0.5], 1, items=30)
    made = ordered([[other], [one]])
    difference = made.ranked[1].difference
    assert difference is not None
    assert (difference.method, difference.verdict) == ("sign-flip", "worse")
    assert difference.low is not None
    assert made.ranked[0].stderr is None
    assert not made.coarse
    assert ordered([[one]] * 33).coarse


def test_a_single_run_beside_seeds_varies_as_they_do() -> None:
    generator = np.random.default_rng(0)
    seeds = simulated(generator, [0.0, 0.0], 3)
    single = [seeds[1][:1], seeds[0][:1], seeds[0][1:] + seeds[1][1:]]
    methods = {each.difference.method for each in ordered(single).ranked if each.difference}
    assert methods == {"seeds"}


def test_other_items_leave_no_intervals() -> None:
    generator = np.random.default_rng(0)
    one, other = simulated(generator, [0.0, 0.5], 2)
    short = [{code: items[:5] for code, items in values.items()} for values in other]
    made = ordered([one, short])
    assert [each.language for each in made.mismatches] == list(LANGUAGES)
    difference = made.ranked[1].difference
    assert difference is not None
    assert (difference.low, difference.verdict) == (None, "")
    assert np.isnan(difference.adjusted)
    assert difference.difference == pytest.approx(made.ranked[1].value - made.ranked[0].value)


def test_p_is_corrected_for_every_pair() -> None:
    generator = np.random.default_rng(3)
    runs = simulated(generator, [0.0, 0.03, 0.04], 3)
    made = ordered(runs)
    for each in made.ranked[1:]:
        assert each.difference is not None
        assert each.difference.adjusted == pytest.approx(min(1.0, 3 * each.difference.p))
