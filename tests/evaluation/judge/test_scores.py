"""Shares and intervals, against closed forms, scipy, and all that can happen."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binomtest, multinomial

from marco.evaluation.intervals import Z95
from marco.evaluation.judge.judging import Comparison, Judgement, judge
from marco.evaluation.judge.questions import Question
from marco.evaluation.judge.scores import TASK, items, rate_interval, rows, share_interval
from marco.evaluation.results.aggregates import aggregate_all
from marco.evaluation.results.samples import Sample, of_rows
from marco.evaluation.rows import Row

WIN, TIE, LOSS = ("model", "model"), ("tie", "tie"), ("baseline", "baseline")
SPLIT = ("model", "baseline")
FAILED = (None, "model")


def turns(*verdicts: tuple[str | None, str | None]) -> list[Comparison]:
    return [
        Comparison(
            Judgement(0, turn, True, first, failure=None if first else "HTTP 500"),
            Judgement(0, turn, False, second),
        )
        for turn, (first, second) in enumerate(verdicts)
    ]


def asked(count: int, language: str = "swh", length: int = 1) -> list[Question]:
    return [Question(str(i), language, "", (f"{i}?",) * length) for i in range(count)]


def one(found: list[Row], metric: str, subtask: str | None = None) -> Row:
    (row,) = [row for row in found if (row.metric, row.subtask) == (metric, subtask)]
    return row


def test_shares_of_one_turn_have_wilsons_intervals() -> None:
    verdicts = [WIN] * 9 + [TIE] * 4 + [SPLIT] * 2 + [LOSS] * 5
    found = rows(asked(20), [turns(each) for each in verdicts])
    assert [row.metric for row in found] == [
        "win_rate", "win", "tie", "loss", "disagreement", "unjudged",
    ]  # fmt: skip
    for metric, count in {"win": 9, "tie": 6, "loss": 5, "disagreement": 2, "unjudged": 0}.items():
        row = one(found, metric)
        interval = binomtest(count, 20).proportion_ci(method="wilson")
        assert (row.value, row.n) == (count / 20, 20)
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
        assert row.stderr == pytest.approx(
            np.std([1] * count + [0] * (20 - count), ddof=1) / 20**0.5
        )
    rate = one(found, "win_rate")
    assert rate.value == pytest.approx((9 + 3) / 20)
    # Bonett & Price (2012), equation 2, of wins - losses, on the scale of win rates
    p12, p21 = 10 / 22, 6 / 22
    half = Z95 * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / 22)
    wanted = [0.5 + (p12 - p21 + sign * half) / 2 for sign in (-1, 1)]
    assert [rate.low, rate.high] == pytest.approx(wanted)


def test_turns_are_averaged_before_the_error() -> None:
    verdicts = [(WIN, WIN), (WIN, LOSS), (TIE, SPLIT), (LOSS, LOSS), (WIN, TIE)]
    found = rows(asked(5, length=2), [turns(*each) for each in verdicts])
    wins = [1, 0.5, 0, 0, 0.5]
    row = one(found, "win")
    assert (row.value, row.n) == (0.4, 5)
    assert row.stderr == pytest.approx(np.std(wins, ddof=1) / 5**0.5)
    effective = 0.4 * 0.6 / (np.var(wins, ddof=1) / 5)
    interval = [root.real for root in np.roots([
        1 + Z95**2 / effective, -(2 * 0.4 + Z95**2 / effective), 0.4**2,
    ])]  # fmt: skip
    assert [row.high, row.low] == pytest.approx(interval)
    assert one(found, "win_rate").value == pytest.approx((1 + 0.5 + 0.5 + 0 + 0.75) / 5)
    assert one(found, "win", "turn 1").value == 3 / 5
    assert one(found, "loss", "turn 2").value == 2 / 5
    assert one(found, "disagreement", "turn 2").value == 1 / 5
    second = binomtest(1, 5).proportion_ci(method="wilson")
    assert one(found, "win", "turn 2").high == pytest.approx(second.high)
    assert (one(found, "tie").low or 0) > 0


def test_what_has_no_verdict_is_left_out_and_counted() -> None:
    verdicts = [(WIN, FAILED), (FAILED, FAILED), (LOSS, LOSS)]
    found = rows(asked(3, length=2), [turns(*each) for each in verdicts])
    assert (one(found, "win").value, one(found, "win").n) == (0.5, 2)
    assert one(found, "unjudged").value == pytest.approx((1 / 2 + 1 + 0) / 3)
    nothing = rows(asked(2), [turns(FAILED)] * 2)
    assert one(nothing, "win_rate").value is None
    assert one(nothing, "win_rate").reason == "no comparison has both verdicts: HTTP 500"
    assert one(nothing, "unjudged").value == 1


def test_items_carry_verdicts_and_answers() -> None:
    question = Question("1", "swh", "", ("a", "b", "c"), ("", "nne"))
    comparisons = [turns(WIN, SPLIT, FAILED)]
    (item,) = items([question], [("x", "y", "z")], comparisons)
    assert (item.task, item.language, item.prediction) == (TASK, "swh", "x\n\ny\n\nz")
    assert item.target == "nne"
    assert item.metrics == {
        "win": 0.5, "tie": 0.5, "loss": 0, "win_rate": 0.75, "disagreement": 0.5,
        "unjudged": pytest.approx(1 / 3),
        "turn_1": 1, "turn_1:first": 1, "turn_1:second": 1,
        "turn_2": 0.5, "turn_2:first": 1, "turn_2:second": 0,
        "turn_3:second": 1,
    }  # fmt: skip


def test_the_macro_average_is_bootstrapped_over_questions() -> None:
    languages = {"swh": [WIN] * 15 + [LOSS] * 15, "deu": [WIN] * 24 + [TIE] * 6}
    questions = [q for code in languages for q in asked(30, code)]
    comparisons = [turns(each) for verdicts in languages.values() for each in verdicts]
    found = rows(questions, comparisons)
    mine = items(questions, [("x",)] * 60, comparisons)
    assert all(isinstance(s, Sample) for s in of_rows(found, mine, TASK, "win").values())
    (macro,) = [
        a for a in aggregate_all(found, {TASK: mine}) if (a.over, a.metric) == ("languages", "win")
    ]
    assert macro.value == pytest.approx((0.5 + 0.8) / 2)
    stderr = math.sqrt(0.25 / 30 + 0.16 / 30) / 2
    assert macro.stderr == pytest.approx(stderr, rel=0.06)
    assert macro.low == pytest.approx(macro.value - Z95 * stderr, abs=0.03)


def test_all_ties_and_all_wins_are_not_certain() -> None:
    low, high = rate_interval([0.5] * 80)
    assert 0.4 < low < 0.5 < high < 0.6
    low, high = rate_interval([1.0] * 80)
    assert 0.9 < low < high == 1
    assert share_interval([0.5] * 10, parts=2) == pytest.approx(
        tuple(binomtest(10, 20).proportion_ci(method="wilson"))
    )
    assert share_interval([0.0], parts=2) == pytest.approx(
        tuple(binomtest(0, 1).proportion_ci(method="wilson"))
    )


@pytest.mark.parametrize("shares", [(0.4, 0.3, 0.3), (0.05, 0.9, 0.05), (0.7, 0.2, 0.1)])
def test_the_win_rates_interval_holds_the_truth(shares: tuple[float, float, float]) -> None:
    """Exactly: over all outcomes of 40 questions, each with its probability."""
    n = 40
    truth = shares[0] + shares[1] / 2
    covered = 0.0
    for wins, ties in itertools.product(range(n + 1), repeat=2):
        if wins + ties <= n:
            values = [1.0] * wins + [0.5] * ties + [0.0] * (n - wins - ties)
            low, high = rate_interval(values)
            if low <= truth <= high:
                covered += multinomial.pmf([wins, ties, n - wins - ties], n, shares)
    assert 0.93 < covered < 0.99


@pytest.mark.parametrize("together", [0.0, 0.5, 1.0])
def test_the_interval_of_two_turns_holds_the_truth(together: float) -> None:
    """By simulation, of turns that are won together never, half the time, and always."""
    generator = np.random.default_rng(0)
    n, share, rounds = 40, 0.3, 2000
    first = generator.random((rounds, n)) < share
    other = generator.random((rounds, n)) < share
    second = np.where(generator.random((rounds, n)) < together, first, other)
    values = (first.astype(float) + second) / 2
    hits = 0
    for row in values:
        low, high = share_interval(row.tolist(), parts=2)
        hits += low <= share <= high
    assert 0.93 < hits / rounds < 0.975


def test_a_perfect_judge_gives_the_known_shares(questions: list[Question]) -> None:
    better = Fraction(1, 6)  # of the six questions of a language the model is better at one

    def perfect(messages: list[dict[str, str]]) -> str:
        text = messages[1]["content"]
        return "[[A]]" if text.index("good") < text.index("bad") else "[[B]]"

    model = [("good", "good") if q.id == "3" else ("bad", "bad") for q in questions]
    baseline = [("bad", "bad") if q.id == "3" else ("good", "good") for q in questions]
    found = rows(questions, judge(questions, model, baseline, perfect))
    for language in ("eng", "swh"):
        mine = [row for row in found if row.language == language]
        assert one(mine, "win").value == pytest.approx(float(better))
        assert one(mine, "loss").value == pytest.approx(float(1 - better))
        assert one(mine, "tie").value == 0
        assert one(mine, "win_rate", "turn 2").value == pytest.approx(float(better))
