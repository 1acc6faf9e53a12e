from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api import metrics
from lm_eval.api.registry import HIGHER_IS_BETTER_REGISTRY

from marco.evaluation.rows import Row, better, group_means, macro, measured, worst


def row(language: str, group: str, value: float | None, metric: str = "bits_per_byte") -> Row:
    return Row("likelihood", language, group, metric, value, 5)


ROWS = [
    row("eng", "english", 1.0),
    row("deu", "high", 2.0),
    row("swh", "low", 6.0),
    row("yor", "low", None),
    row("hau", "low", math.nan),
    row("deu", "high", 0.3, "lexicon_accuracy"),
    row("swh", "low", 0.9, "lexicon_accuracy"),
]


def test_averages_take_each_measured_language_once() -> None:
    assert measured(ROWS, "bits_per_byte") == {"eng": 1, "deu": 2, "swh": 6}
    assert macro(ROWS, "bits_per_byte") == 3
    assert group_means(ROWS, "bits_per_byte") == {"english": 1, "high": 2, "low": 6}
    assert macro(ROWS, "nats_per_article") is None
    assert group_means([], "bits_per_byte") == {}


def test_the_worst_depends_on_the_metrics_direction() -> None:
    assert worst(ROWS, "bits_per_byte") == ("swh", 6)
    assert worst(ROWS, "lexicon_accuracy") == ("deu", 0.3)
    assert worst(ROWS, "nats_per_article") is None


def test_other_peoples_metrics_improve_upwards_unless_they_are_errors() -> None:
    rows = [row(code, "low", value, "acc") for code, value in (("swh", 0.2), ("yor", 0.6))]
    assert worst(rows, "acc") == ("swh", 0.2)
    ratios = [row("swh", "low", 3.0, "length_ratio"), row("yor", "low", 0.2, "length_ratio")]
    assert worst(ratios, "length_ratio") is None
    assert better("exact_match,strict-match") == "higher"
    assert better("letter") == "higher"
    assert [better(name) for name in ("wer", "ter", "word_perplexity,none")] == ["lower"] * 3


def test_directions_are_lm_evals_own() -> None:
    assert metrics.bits_per_byte  # importing it is what fills the registry
    known = {name: higher for name, higher in HIGHER_IS_BETTER_REGISTRY.items() if name != "bypass"}
    assert len(known) > 15
    assert {name: better(name) == "higher" for name in known} == known


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), st.randoms())
def test_macro_does_not_depend_on_the_order(values: list[float], draw: object) -> None:
    rows = [row(str(index), "low", value) for index, value in enumerate(values)]
    shuffled = rows[:]
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    assert macro(rows, "bits_per_byte") == macro(shuffled, "bits_per_byte")


def test_a_row_survives_being_written() -> None:
    one = Row("lexicon", "swh", "low", "lexicon_accuracy", None, 0, reason="absent")
    assert Row.from_dict({"step": 3, "tokens": 9, **one.as_dict()}) == one
