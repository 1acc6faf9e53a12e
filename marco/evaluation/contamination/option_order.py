"""Does a model prefer the published order of a question's options?

The test of "Training on the Benchmark Is Not All You Need" (S. Ni et al., arXiv 2409.01790). The
meaning of a multiple-choice item does not depend on the order of its options, so a model that has
not seen it has no reason to find one order the likeliest. Scenario a: the published order has the
largest log-probability of all, which happens to 1 item in n! by chance. Scenario b: the options may
have been shuffled before the model saw them; then the largest log-probability, of whichever order,
is an outlier among them by an isolation forest.

What it cannot tell:

- Options that were shuffled anew each time the model saw them leave no order that stands out.
- Some orders are natural: numbers that rise, "all of the above" at the end. A clean model prefers
  them too. Items of which all options are numbers in order are left out; for the rest, compare with
  the same test of a model that cannot have seen the items (an early checkpoint).
- Scenario b has no chance level of its own: a clean model's log-probabilities are neither normal
  nor independent. `outliers_expected`, of normal ones, is a yardstick and not a null hypothesis.
- A model may have seen the question in another format, and then be flagged less often.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from marco.evaluation.contamination.binomial import at_least, clopper_pearson
from marco.evaluation.contamination.choices import ChoiceItem
from marco.evaluation.contamination.isolation import decision_of_maximum, share_of_normal
from marco.evaluation.intervals import wilson
from marco.evaluation.rows import Row
from marco.languages import get

#: (context, continuation) pairs → natural-log likelihoods of the continuations.
Score = Callable[[list[tuple[str, str]]], list[float]]

ORDERS = 24  # of four options: what the paper's thresholds are meant for
THRESHOLD = -0.2  # the strictest of the paper's three (-0.2, -0.17, -0.15)
METRICS = ("option_order_share", "option_order_p", "option_order_outliers")

IN_ORDER = "numbers in order"
TOO_FEW = "options that are all the same"
NOT_FINITE = "a log-likelihood that is not a number"


@dataclass(frozen=True, slots=True)
class OptionOrderResult:
    """The test's outcome over some items.

    Attributes:
        n: items tested.
        flagged: items whose published order is strictly the likeliest (scenario a).
        expected: the share that chance alone would flag: 1/24 for four different options.
        low: lower bound of the 95 % interval of the flagged share (Clopper and Pearson).
        high: its upper bound.
        p_value: of as many flagged items or more by chance, exact, one-sided.
        outliers: items with an order that stands out (scenario b).
        outliers_n: items with enough orders for scenario b.
        outliers_expected: the share of outliers among as many independent normal numbers.
        skipped: reason → items left out.
        per_language: language → its own result; empty in one of these.
    """

    n: int
    flagged: int
    expected: float
    low: float
    high: float
    p_value: float
    outliers: int
    outliers_n: int
    outliers_expected: float
    skipped: Mapping[str, int] = field(default_factory=dict)
    per_language: Mapping[str, OptionOrderResult] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Tested:
    language: str
    orders: int
    flagged: bool
    outlier: bool | None


def option_order_test(
    items: Sequence[ChoiceItem],
    score: Score,
    *,
    orders: int = ORDERS,
    threshold: float = THRESHOLD,
) -> OptionOrderResult:
    """Test whether a model has seen the items; see the module for what the outcome means.

    Args:
        items: with options in their published order.
        score: called once with every order of every item. Pairs of one item share their context.
        orders: at most so many for an item, the published one among them; those of more than four
            options are drawn, the same ones every time. Scenario b is for items with as many.
        threshold: of scenario b: below it the largest log-likelihood is an outlier.

    Returns:
        Counts over all items and by language. Without an item to test, n is 0, the interval is
        (0, 1) and p is 1.
    """
    skipped: Counter[tuple[str, str]] = Counter()
    kept: list[tuple[ChoiceItem, list[str]]] = []
    for item in items:
        texts = item.texts(orders)
        if len(texts) < 2:
            skipped[item.language, TOO_FEW] += 1
        elif item.is_in_numeric_order():
            skipped[item.language, IN_ORDER] += 1
        else:
            kept.append((item, texts))
    pairs = [(item.context, text) for item, texts in kept for text in texts]
    scores = score(pairs) if pairs else []
    if len(scores) != len(pairs):
        raise ValueError(f"{len(scores)} log-likelihoods of {len(pairs)} texts")
    tested = []
    start = 0
    for item, texts in kept:
        found = np.array(scores[start : start + len(texts)], np.float64)
        start += len(texts)
        if not np.isfinite(found).all():
            skipped[item.language, NOT_FINITE] += 1
            continue
        enough = len(texts) >= orders
        outlier = bool(decision_of_maximum(found[None])[0] < threshold) if enough else None
        flagged = bool(found[0] > found[1:].max())
        tested.append(_Tested(item.language, len(texts), flagged, outlier))
    languages = dict.fromkeys(item.language for item in items)
    return _summed(
        tested,
        orders,
        threshold,
        _reasons(skipped, None),
        {
            language: _summed(
                [one for one in tested if one.language == language],
                orders,
                threshold,
                _reasons(skipped, language),
                {},
            )
            for language in languages
        },
    )


def _reasons(skipped: Counter[tuple[str, str]], language: str | None) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (of, reason), count in skipped.items():
        if language in (None, of):
            found[reason] += count
    return dict(found)


def _summed(
    tested: Sequence[_Tested],
    orders: int,
    threshold: float,
    skipped: Mapping[str, int],
    per_language: Mapping[str, OptionOrderResult],
) -> OptionOrderResult:
    flagged = sum(one.flagged for one in tested)
    chances = [1 / one.orders for one in tested]
    n = len(tested)
    low, high = clopper_pearson(flagged, n) if n else (0.0, 1.0)
    outliers = [one.outlier for one in tested if one.outlier is not None]
    return OptionOrderResult(
        n=n,
        flagged=flagged,
        expected=math.fsum(chances) / n if n else 0.0,
        low=low,
        high=high,
        p_value=at_least(flagged, chances),
        outliers=sum(outliers),
        outliers_n=len(outliers),
        outliers_expected=share_of_normal(orders, threshold) if outliers else 0.0,
        skipped=skipped,
        per_language=per_language,
    )


def rows(task: str, result: OptionOrderResult) -> list[Row]:
    """Return three rows a language: the share flagged, its p-value, the share of outliers.

    `chance` is the share that a clean model is expected to have. Over several languages the
    p-values are of as many tests: correct them as such.
    """
    found = []
    for language, part in result.per_language.items():
        group = get(language).group
        share, p, outliers = METRICS
        if part.n == 0:
            reason = "; ".join(f"{count} items with {why}" for why, count in part.skipped.items())
            found += [Row(task, language, group, name, None, 0, reason=reason) for name in METRICS]
            continue
        found.append(
            Row(task, language, group, share, part.flagged / part.n, part.n, part.low, part.high,
                chance=part.expected)
        )  # fmt: skip
        found.append(Row(task, language, group, p, part.p_value, part.n))
        if part.outliers_n:
            low, high = wilson(part.outliers, part.outliers_n)
            found.append(
                Row(task, language, group, outliers, part.outliers / part.outliers_n,
                    part.outliers_n, low, high, chance=part.outliers_expected)
            )  # fmt: skip
    return found
