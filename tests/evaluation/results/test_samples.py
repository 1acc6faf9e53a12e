from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from marco.evaluation.items import Item
from marco.evaluation.results.samples import Estimate, Sample, of_items, of_rows
from marco.evaluation.rows import Row

REPLICATES = 20_000


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_redrawn_means_spread_as_the_closed_form_says() -> None:
    """Both ways of drawing: of values all different, and of zeros and ones."""
    for values in (generator().normal(3, 2, 60), (generator().random(200) < 0.3).astype(float)):
        drawn = Sample(values).draws(generator(2), REPLICATES)
        stderr = values.std() / math.sqrt(len(values))
        assert drawn.mean() == pytest.approx(values.mean(), abs=4 * stderr / math.sqrt(REPLICATES))
        assert drawn.std() == pytest.approx(stderr, rel=0.02)


def test_a_ratio_spreads_as_its_linearised_error_says() -> None:
    lengths = generator().integers(50, 300, 80).astype(float)
    bits = lengths * generator(2).normal(1.2, 0.2, 80)
    sample = Sample(bits, lengths)
    assert sample.value == pytest.approx(bits.sum() / lengths.sum())
    stderr = math.sqrt(((bits - sample.value * lengths) ** 2).sum()) / lengths.sum()
    assert sample.draws(generator(), REPLICATES).std() == pytest.approx(stderr, rel=0.03)


@pytest.mark.parametrize("ratio", [False, True])
def test_the_interval_is_scipys(ratio: bool) -> None:
    above, below = generator().gamma(2, 1, 40), generator(2).gamma(5, 1, 40)

    def value(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return x.sum(axis) / y.sum(axis) if ratio else x.mean(axis)

    theirs = scipy.stats.bootstrap(
        (above, below),
        value,
        paired=True,
        vectorized=True,
        n_resamples=REPLICATES,
        method="percentile",
        rng=generator(3),
    )
    drawn = Sample(above, below if ratio else None).draws(generator(4), REPLICATES)
    ours = np.percentile(drawn, [2.5, 97.5])
    # a percentile of 20,000 draws is itself uncertain: by 0.027 standard errors here
    assert ours == pytest.approx(list(theirs.confidence_interval), abs=0.1 * drawn.std())
    assert drawn.std() == pytest.approx(theirs.standard_error, rel=0.03)


def test_equal_items_drawn_together_are_the_same_distribution() -> None:
    values = np.array([0.0] * 30 + [0.5] * 20 + [1.0] * 14)
    apart = values + generator().normal(0, 1e-9, 64)  # no two equal: drawn one by one
    together = Sample(values).draws(generator(2), REPLICATES)
    single = Sample(apart).draws(generator(3), REPLICATES)
    assert scipy.stats.ks_2samp(together, np.round(single * 128) / 128).pvalue > 0.01
    assert set(np.unique(np.round(together * 128, 9))) <= set(range(129))


def test_an_estimate_is_drawn_from_a_normal() -> None:
    drawn = Estimate(0.4, 900, 0.02).draws(generator(), REPLICATES)
    assert scipy.stats.kstest(drawn, scipy.stats.norm(0.4, 0.02).cdf).pvalue > 0.01


def test_without_an_error_nothing_is_pretended() -> None:
    assert np.isnan(Estimate(0.4, 900).draws(generator(), 5)).all()
    assert np.isnan(Sample(np.array([1.0])).draws(generator(), 5)).all()


def item(language: str, **metrics: float) -> Item:
    return Item("t", language, "id", {name.replace("__", ":"): v for name, v in metrics.items()})


def test_items_become_the_samples_of_their_language() -> None:
    items = [item("swh", acc=1.0), item("eng", acc=0.0), item("swh", acc=0.5), item("swh", f1=0.1)]
    found = of_items(items, "acc")
    assert {code: list(sample.numerators) for code, sample in found.items()} == {
        "swh": [1.0, 0.5],
        "eng": [0.0],
    }
    rolling = [
        item("tha", bits_per_byte__loglikelihood=-8.0, bits_per_byte__length=4.0),
        item("tha", bits_per_byte__loglikelihood=-2.0, bits_per_byte__length=16.0),
    ]
    assert of_items(rolling, "bits_per_byte")["tha"].value == pytest.approx(0.5 / math.log(2))
    assert of_items(rolling, "acc") == {}


def test_items_count_where_they_give_the_rows_value() -> None:
    items = [item("swh", acc=1.0), item("swh", acc=0.0), item("eng", acc=1.0), item("deu", acc=0.0)]
    rows = [
        Row("t", "swh", "low", "acc", 0.5, 2, stderr=0.5),
        Row("t", "eng", "english", "acc", 0.7, 9, stderr=0.1),
        Row("t", "fra", "high", "acc", 0.6, 9),
        Row("t", "ita", "high", "acc", 0.6, 9, 0.6 - 1.96 * 0.1, 0.6 + 1.96 * 0.1),
        Row("t", "deu", "high", "acc", None, 0, reason="failed"),
        Row("t", "yor", "low", "acc", math.nan, 5),
        Row("t", "swh", "low", "acc", 0.9, 2, subtask="part"),
        Row("other", "swh", "low", "acc", 0.1, 2),
    ]
    found = of_rows(rows, items, "t", "acc")
    assert isinstance(found.pop("swh"), Sample)
    italian = found.pop("ita")
    assert (italian.value, italian.stderr) == (0.6, pytest.approx(0.1, rel=1e-4))
    assert found == {"eng": Estimate(0.7, 9, 0.1), "fra": Estimate(0.6, 9, None)}
