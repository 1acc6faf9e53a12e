from __future__ import annotations

import math

import numpy as np
import pytest

from marco.evaluation.results.aggregates import Aggregate, aggregate
from marco.evaluation.results.samples import Estimate, Sample
from marco.languages import MARCO_LANGUAGES, get


def accuracies(shares: dict[str, float], items: int, seed: int = 0) -> dict[str, Sample]:
    generator = np.random.default_rng(seed)
    return {
        code: Sample((generator.random(items) < share).astype(float))
        for code, share in shares.items()
    }


def one(found: list[Aggregate], over: str, name: str | None = None, corrected: bool = False):
    (only,) = [a for a in found if (a.over, a.name, a.corrected) == (over, name, corrected)]
    return only


SEVEN = {"eng": 0.9, "deu": 0.8, "cmn": 0.7, "rus": 0.6, "swh": 0.5, "yor": 0.4, "tha": 0.3}


def values(metric: str = "acc", **chance: float) -> list[Aggregate]:
    known = {code: Estimate(value, 100, 0.01) for code, value in SEVEN.items()}
    return aggregate("t", metric, known, chance=chance or None, replicates=200)


def test_every_aggregate_of_known_values() -> None:
    found = values()
    assert one(found, "languages").value == pytest.approx(0.6)
    assert one(found, "worst_5").value == pytest.approx(0.5)
    assert one(found, "gap_to_english").value == pytest.approx(0.9 - 0.55)
    assert one(found, "group", "low").value == pytest.approx((0.6 + 0.5 + 0.4 + 0.3) / 4)
    assert one(found, "script", "Latn").value == pytest.approx((0.9 + 0.8 + 0.5 + 0.4) / 4)
    assert one(found, "family", "Niger-Congo").value == pytest.approx(0.45)
    counts = {(a.over, a.name): (a.languages, a.n) for a in found}
    assert counts["languages", None] == (7, 700)
    assert counts["family", "Niger-Congo"] == (2, 200)
    assert counts["worst_5", None] == (5, 700)
    assert counts["gap_to_english", None] == (6, 700)
    for over in ("group", "script", "family"):
        assert {a.name for a in found if a.over == over} == {getattr(get(c), over) for c in SEVEN}


def test_lower_is_better_turns_the_worst_and_the_gap() -> None:
    found = values("bits_per_byte")
    assert one(found, "worst_5").value == pytest.approx(0.7)
    assert one(found, "gap_to_english").value == pytest.approx(0.55 - 0.9)
    assert {a.over for a in values("length_ratio")} == {"languages", "group", "script", "family"}


def test_correction_for_chance() -> None:
    found = values(**dict.fromkeys(SEVEN, 0.25) | {"tha": 0.5})
    corrected = {code: (v - 0.25) / 0.75 for code, v in SEVEN.items()} | {"tha": -0.4}
    assert one(found, "languages", corrected=True).value == pytest.approx(
        sum(corrected.values()) / 7
    )
    worst = sorted(corrected.values())[:5]
    assert one(found, "worst_5", corrected=True).value == pytest.approx(sum(worst) / 5)
    assert one(found, "languages").value == pytest.approx(0.6)
    assert len(found) == 2 * len(values())
    assert not any(a.corrected for a in values(swh=0.25))  # chance of one language alone


def test_the_error_of_a_macro_average() -> None:
    """sqrt(Σ s²) / k, of items and of rows' standard errors alike."""
    samples = accuracies({code: 0.2 + 0.1 * i for i, code in enumerate(SEVEN)}, 150)
    errors = {c: s.numerators.std() / math.sqrt(s.n) for c, s in samples.items()}
    rows = {code: Estimate(sample.value, 150, errors[code]) for code, sample in samples.items()}
    for known in (samples, rows):
        macro = one(aggregate("t", "acc", known, replicates=8000), "languages")
        exact = math.hypot(*errors.values()) / 7
        assert macro.stderr == pytest.approx(exact, rel=0.03)
        assert macro.interval == "percentile"
        assert (macro.low, macro.high) == pytest.approx(
            (macro.value - 1.96 * exact, macro.value + 1.96 * exact), abs=0.1 * exact
        )


def test_the_error_of_the_gap_and_of_correction() -> None:
    known = {
        "eng": Estimate(0.8, 9, 0.02),
        "swh": Estimate(0.5, 9, 0.03),
        "yor": Estimate(0.4, 9, 0.04),
    }
    found = aggregate("t", "acc", known, chance=dict.fromkeys(known, 0.5), replicates=8000)
    exact = math.hypot(0.02, 0.03 / 2, 0.04 / 2)
    assert one(found, "gap_to_english").stderr == pytest.approx(exact, rel=0.03)
    assert one(found, "gap_to_english", corrected=True).stderr == pytest.approx(2 * exact, rel=0.03)


def test_intervals_cover_what_they_claim() -> None:
    """300 simulated evaluations of 12 languages by 60 items: the share of intervals that hold."""
    shares = {code: 0.3 + 0.05 * i for i, code in enumerate(MARCO_LANGUAGES[:12])}
    others = [share for code, share in shares.items() if code != "eng"]
    high = [share for code, share in shares.items() if get(code).group == "high"]
    truth = {
        ("languages", None): np.mean(list(shares.values())),
        ("gap_to_english", None): shares["eng"] - np.mean(others),
        ("group", "high"): np.mean(high),
    }
    held = dict.fromkeys(truth, 0)
    for seed in range(300):
        found = aggregate("t", "acc", accuracies(shares, 60, seed), replicates=400, seed=seed)
        for (over, name), value in truth.items():
            estimate = one(found, over, name)
            held[over, name] += estimate.low <= value <= estimate.high
    assert all(0.92 <= count / 300 <= 0.98 for count in held.values()), held


def test_the_worst_five_are_chosen_anew_in_every_redraw() -> None:
    """Their interval is reflected: the redrawn ones come out lower still than what was measured."""
    samples = accuracies(dict.fromkeys(MARCO_LANGUAGES, 0.5), 100)
    worst = one(aggregate("t", "acc", samples), "worst_5")
    assert worst.interval == "basic"
    assert worst.low <= worst.value < 0.45 < worst.high
    assert worst.high - worst.value > 0.04


def test_the_same_seed_gives_the_same() -> None:
    samples = accuracies(SEVEN, 40)
    first = aggregate("t", "acc", samples)
    backwards = aggregate("t", "acc", dict(reversed(samples.items())))
    assert aggregate("t", "acc", samples) == first
    low = one(first, "group", "low")
    alone = aggregate("t", "acc", {c: s for c, s in samples.items() if get(c).group == "low"})
    assert one(alone, "group", "low") == low
    for mine in backwards:
        twin = one(first, mine.over, mine.name)
        assert (mine.low, mine.high) == pytest.approx((twin.low, twin.high), abs=1e-12)
    assert aggregate("t", "acc", samples, seed=1) != first


def test_a_language_of_unknown_error_takes_the_interval_not_the_value() -> None:
    known = {"eng": Estimate(0.8, 9, 0.02), "swh": Estimate(0.5, 9), "yor": Estimate(0.4, 9, 0.1)}
    found = aggregate("t", "acc", known)
    macro = one(found, "languages")
    assert (macro.low, macro.high, macro.stderr) == (None, None, None)
    assert macro.value == pytest.approx(1.7 / 3)
    assert one(found, "group", "english").low is not None


def test_few_languages_have_no_worst_ones_and_none_has_nothing() -> None:
    known = {code: Estimate(0.5, 9, 0.1) for code in list(SEVEN)[1:6]}
    assert {a.over for a in aggregate("t", "acc", known)} == {
        "languages",
        "group",
        "script",
        "family",
    }
    assert aggregate("t", "acc", {}) == []
    assert {a.over for a in aggregate("t", "acc", {"eng": Estimate(0.5, 9)})} >= {"languages"}
