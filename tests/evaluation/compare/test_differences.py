from __future__ import annotations

import math

import numpy as np
import pytest
from compared_runs import group, items, row, run

from marco.evaluation.compare.differences import Comparison, compare
from marco.evaluation.compare.measure import Difference
from marco.evaluation.compare.run import Run
from marco.evaluation.items import Item
from marco.evaluation.rows import Row
from marco.languages import MARCO_LANGUAGES


def of(found: Comparison, language: str | None) -> Difference:
    (only,) = [each for each in (*found.languages, *found.means) if each.language == language]
    return only


def flipped(values: np.ndarray, count: int, to: float = 1.0) -> np.ndarray:
    changed = values.copy()
    changed[np.flatnonzero(values != to)[:count]] = to
    return changed


def test_a_planted_five_points_of_200_items_is_found_and_nothing_else() -> None:
    """The bar, among the paper's 29 languages; in the others as many items go as come."""
    generator = np.random.default_rng(0)
    before = {code: generator.integers(0, 2, 200).astype(float) for code in MARCO_LANGUAGES}
    after = {code: flipped(flipped(found, 4, 0.0), 4) for code, found in before.items()}
    after["swh"] = flipped(before.setdefault("swh", before["eng"]), 10)
    found = compare(group(run(before)), group(run(after)))
    assert [each.language for each in found.languages if each.verdict] == ["swh"]
    planted = of(found, "swh")
    assert planted.verdict == "better"
    assert planted.difference == pytest.approx(0.05)
    assert (planted.worse, planted.improved, planted.n) == (0, 10, 200)
    assert planted.low is not None
    assert 0 < planted.low < 0.05
    back = compare(group(run(after)), group(run(before)))
    assert of(back, "swh").verdict == "worse"
    assert (of(back, "swh").worse, of(back, "swh").improved) == (10, 0)


def test_other_seeds_alone_are_no_finding_in_95_of_100_repetitions() -> None:
    """The bar, through the whole of it: chances item by item, 8 languages of 60 items."""
    generator = np.random.default_rng(1)
    codes = MARCO_LANGUAGES[:8]
    false = 0
    for _ in range(100):
        chances = generator.beta(2, 2, (8, 60))
        sides = [
            group(run(dict(zip(codes, (generator.random((8, 60)) < chances) * 1.0, strict=True))))
            for _ in range(2)
        ]
        false += any(each.verdict for each in compare(*sides).languages)
    assert false <= 5


def test_the_bootstrap_interval_is_that_of_the_paired_differences() -> None:
    generator = np.random.default_rng(2)
    before = generator.normal(10, 5, 400)  # items differ by much more than the runs do
    after = before + generator.normal(0.3, 1, 400)
    found = of(compare(group(run({"eng": before}, "f1")), group(run({"eng": after}, "f1"))), "eng")
    spread = (after - before).std(ddof=1) / math.sqrt(400)
    assert found.method == "sign-flip"
    assert found.low == pytest.approx(found.difference - 1.96 * spread, abs=0.02)
    assert found.high == pytest.approx(found.difference + 1.96 * spread, abs=0.02)
    assert found.verdict == "better"


def test_means_over_languages_count_each_language_once() -> None:
    before = {"eng": [0.0] * 100, "tha": [1.0] * 10}
    after = {"eng": [0.0] * 100, "tha": [1.0] * 5 + [0.0] * 5}
    mean = of(compare(group(run(before)), group(run(after))), None)
    assert mean.difference == pytest.approx(-0.25)
    assert (mean.before, mean.after, mean.n) == (0.5, 0.25, 110)
    assert (mean.worse, mean.improved) == (5, 0)


def bits(language: str, nats: list[float], lengths: list[float]) -> Run:
    made = [
        Item(
            "likelihood",
            language,
            str(i),
            {"bits_per_byte:loglikelihood": -n, "bits_per_byte:length": length},
        )
        for i, (n, length) in enumerate(zip(nats, lengths, strict=True))
    ]
    value = sum(nats) / sum(lengths) / math.log(2)
    rows = [
        Row("likelihood", language, "low", "bits_per_byte", value, len(nats)),
        Row("likelihood", language, "low", "nats_per_article", sum(nats) / len(nats), len(nats)),
    ]
    return Run("bits", rows, made)


def test_bits_per_byte_are_a_ratio_of_sums_and_lower_is_better() -> None:
    generator = np.random.default_rng(3)
    lengths = generator.uniform(100, 5000, 60)
    nats = 2 * lengths + generator.normal(0, 1, 60)
    before, after = (
        bits("tha", list(nats), list(lengths)),
        bits("tha", list(nats - 0.05 * lengths), list(lengths)),
    )
    found = compare(group(before), group(after))
    ratio, article = found.languages
    assert ratio.difference == pytest.approx(-0.05 / math.log(2))
    assert ratio.before == pytest.approx(before.rows[0].value)
    assert (ratio.verdict, article.verdict) == ("better", "better")
    assert article.difference == pytest.approx(-0.05 * lengths.mean())
    assert ratio.worse is None


def test_seeds_that_disagree_are_no_finding_where_single_runs_were() -> None:
    generator = np.random.default_rng(4)
    chances = generator.beta(2, 2, 400)

    def seeds(shifts: list[float], name: str) -> list[Run]:
        return [
            run({"swh": (generator.random(400) < np.clip(chances + shift, 0, 1)) * 1.0}, name=name)
            for shift in shifts
        ]

    before, after = seeds([0.0, 0.1, -0.1], "a"), seeds([0.12, -0.1, 0.1], "b")
    alone = compare(group(before[2]), group(after[0]))
    together = compare(group(*before), group(*after))
    assert of(alone, "swh").verdict == "better"
    found = of(together, "swh")
    assert (found.verdict, found.method, found.runs) == ("", "seeds", (3, 3))
    means = [np.mean([item.metrics["acc"] for item in each.items]) for each in before]
    assert found.before == pytest.approx(np.mean(means))
    assert found.stderrs[0] == pytest.approx(np.std(means, ddof=1) / math.sqrt(3))
    clear = compare(group(*seeds([0.0, 0.01, 0.02], "a")), group(*seeds([0.3, 0.31, 0.32], "b")))
    assert of(clear, "swh").verdict == "better"


def test_flips_of_seeds_are_the_mean_over_pairs_of_runs() -> None:
    before = [run({"tha": found}, name="a") for found in ([1, 1, 0, 0], [1, 0, 0, 0])]
    after = [run({"tha": found}, name="b") for found in ([0, 1, 1, 0], [1, 0, 1, 0])]
    pairs = [(a, b) for a in ([1, 1, 0, 0], [1, 0, 0, 0]) for b in ([0, 1, 1, 0], [1, 0, 1, 0])]
    worse = np.mean([sum(x > y for x, y in zip(a, b, strict=True)) for a, b in pairs])
    improved = np.mean([sum(x < y for x, y in zip(a, b, strict=True)) for a, b in pairs])
    found = of(compare(group(*before), group(*after)), "tha")
    assert (found.worse, found.improved) == (pytest.approx(worse), pytest.approx(improved))


def test_other_items_are_not_paired_and_said() -> None:
    before = run({"eng": [1, 0, 1], "tha": [0, 0, 1, 1]}, name="a")
    later = [item for item in items("tha", [1, 0, 0, 1, 1]) if item.id != "0000"]
    other = Run("b", before.rows, [*items("eng", [1, 1, 0]), *later])
    found = compare(group(before), group(other))
    assert [each.language for each in found.languages] == ["eng"]
    (wrong,) = found.mismatches
    assert (wrong.task, wrong.language, wrong.counts, wrong.shared) == ("quiz", "tha", (4, 4), 3)
    assert "marco_quiz_tha" in str(wrong)
    fewer = compare(group(before), group(run({"eng": [1, 0], "tha": [0, 0, 1, 1]}, name="c")))
    assert [m.language for m in fewer.mismatches] == ["eng"]
    assert [each.language for each in fewer.languages] == ["tha"]


def test_without_items_values_are_compared_by_their_errors() -> None:
    def only(value: float, stderr: float | None, n: int = 100) -> Run:
        return Run("x", [Row("quiz", "tha", "high", "acc", value, n, stderr=stderr)])

    found = of(compare(group(only(0.5, 0.03)), group(only(0.6, 0.04))), "tha")
    assert found.method == "normal"
    assert found.p == pytest.approx(0.0455, abs=1e-4)  # two standard errors
    assert found.high == pytest.approx(0.1 + 1.96 * 0.05, abs=1e-4)
    nothing = of(compare(group(only(0.5, None)), group(only(0.6, 0.04))), "tha")
    assert (nothing.method, nothing.verdict, nothing.low) == ("none", "", None)
    assert math.isnan(nothing.adjusted)
    several = [group(*(only(v, None) for v in values)) for values in ([0.5, 0.51], [0.8, 0.81])]
    assert of(compare(*several), "tha").verdict == "better"
    other = compare(group(only(0.5, 0.03)), group(only(0.6, 0.04, n=90)))
    assert [m.counts for m in other.mismatches] == [(100, 90)]


def test_seeds_that_are_all_alike_say_nothing_on_how_they_vary() -> None:
    def seeds(value: float) -> list[Run]:
        return [Run("x", [Row("quiz", "tha", "high", "acc", value, 8)]) for _ in range(2)]

    assert of(compare(group(*seeds(0.25)), group(*seeds(0.375))), "tha").verdict == ""
    sides = [group(*(run({"tha": [value] * 5}) for _ in range(2))) for value in (0.0, 1.0)]
    assert of(compare(*sides), "tha").p == pytest.approx(2 / 2**5)
    sure = [Run("x", [Row("quiz", "tha", "high", "acc", v, 2, stderr=0.0)]) for v in (0.0, 1.0)]
    assert of(compare(group(sure[0]), group(sure[1])), "tha").method == "none"


def test_what_only_some_runs_have_is_missing() -> None:
    before = run({"eng": [1, 0], "tha": [1, 0]})
    after = run({"eng": [1, 0], "swh": [1, 0]})
    found = compare(group(before), group(after))
    assert set(found.missing) == {("quiz", "acc", "tha"), ("quiz", "acc", "swh")}
    assert [each.language for each in found.languages] == ["eng"]


def test_an_item_without_the_metric_is_left_out_of_both() -> None:
    def texts(values: list[float | None]) -> Run:
        known = [value for value in values if value is not None]
        made = [
            Item(
                "marco_quiz_tha",
                "tha",
                str(i),
                {"too_short": 1.0 * (v is None)} | ({} if v is None else {"wrong_language": v}),
            )
            for i, v in enumerate(values)
        ]
        rows = [
            row("tha", known, "wrong_language"),
            row("tha", [1.0 * (v is None) for v in values], "too_short"),
        ]
        return Run("t", rows, made)

    found = compare(group(texts([1, 0, None, 0])), group(texts([1, 1, 0, None])))
    (wrong,) = [each for each in found.languages if each.metric == "wrong_language"]
    assert (wrong.n, wrong.before, wrong.after, wrong.worse) == (2, 0.5, 1.0, 1)
    none = compare(group(texts([None, 0])), group(texts([1, None])))
    assert none.missing == [("quiz", "wrong_language", "tha")]


def test_a_metric_that_is_neither_good_nor_bad_changes() -> None:
    before, after = np.ones(40), np.ones(40) * 2
    sides = [group(run({"eng": values}, "too_short")) for values in (before, after)]
    assert of(compare(*sides), "eng").verdict == "changed"


def test_benjamini_hochberg_finds_at_least_what_holm_does() -> None:
    codes = MARCO_LANGUAGES[:8]
    before = {code: np.zeros(50) for code in codes}
    after = {code: flipped(found, 6) for code, found in before.items()}
    sides = group(run(before)), group(run(after))
    # p is 2^-6 in each: times eight languages too much for Holm, the largest of eight enough for BH
    assert not any(e.verdict for e in compare(*sides, correction="holm").languages)
    assert all(e.verdict == "better" for e in compare(*sides, correction="bh").languages)
    assert not any(e.verdict for e in compare(*sides, level=1e-9).languages)
