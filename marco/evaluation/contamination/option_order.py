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
- Scenario b has no chance level: an untrained model had an outlier in 22 % of random items (24
  independent normal numbers have one in 35 %). Compare with a model that cannot have seen them.
- A model may have seen the question in another format, and then be flagged less often.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from marco.evaluation.contamination.binomial import at_least
from marco.evaluation.contamination.choices import ChoiceItem
from marco.evaluation.contamination.isolation import decision_of_maximum

#: (context, continuation) pairs → natural-log likelihoods of the continuations.
Score = Callable[[list[tuple[str, str]]], Sequence[float]]

ORDERS = 24  # of four options: what the paper's thresholds are meant for
THRESHOLD = -0.2  # the strictest of the paper's three (-0.2, -0.17, -0.15)

IN_ORDER = "numbers in order"
TOO_FEW = "options that are all the same"
NOT_FINITE = "a log-likelihood that is not a number"


@dataclass(frozen=True, slots=True)
class OptionOrder:
    """The test's outcome over some items.

    Attributes:
        n: items tested.
        flagged: items whose published order is strictly the likeliest (scenario a).
        expected: the share that chance alone would flag: 1/24 for four different options.
        p_value: of as many flagged items or more by chance, exact, one-sided.
        outliers: items with an order that stands out (scenario b).
        outliers_n: items with enough orders for scenario b.
        skipped: reason → items left out.
    """

    n: int
    flagged: int
    expected: float
    p_value: float
    outliers: int
    outliers_n: int
    skipped: Mapping[str, int] = field(default_factory=dict)


def option_order_test(
    items: Sequence[ChoiceItem],
    score: Score,
    *,
    orders: int = ORDERS,
    threshold: float = THRESHOLD,
) -> OptionOrder:
    """Test whether a model has seen the items; see the module for what the outcome means.

    Args:
        items: with options in their published order.
        score: called once with every order of every item. Pairs of one item share their context.
        orders: at most so many for an item, the published one among them; those of more than four
            options are drawn, the same ones every time. Scenario b is for items with as many.
        threshold: of scenario b: below it the largest log-likelihood is an outlier.

    Returns:
        Counts over all items. Without an item to test, n is 0 and p is 1.
    """
    skipped: Counter[str] = Counter()
    kept: list[tuple[ChoiceItem, list[str]]] = []
    for item in items:
        texts = item.texts(orders)
        if len(texts) < 2:
            skipped[TOO_FEW] += 1
        elif item.is_in_numeric_order():
            skipped[IN_ORDER] += 1
        else:
            kept.append((item, texts))
    pairs = [(item.context, text) for item, texts in kept for text in texts]
    scores = np.array(score(pairs) if pairs else [], np.float64)
    if len(scores) != len(pairs):
        raise ValueError(f"{len(scores)} log-likelihoods of {len(pairs)} texts")
    chances: list[float] = []
    flagged = outliers = outliers_n = start = 0
    for _, texts in kept:
        found = scores[start : start + len(texts)]
        start += len(texts)
        if not np.isfinite(found).all():
            skipped[NOT_FINITE] += 1
            continue
        chances.append(1 / len(texts))
        flagged += bool(found[0] > found[1:].max())
        if len(texts) == orders:
            outliers_n += 1
            outliers += bool(decision_of_maximum(found[None])[0] < threshold)
    return OptionOrder(
        n=len(chances),
        flagged=flagged,
        expected=math.fsum(chances) / len(chances) if chances else 0.0,
        p_value=at_least(flagged, chances),
        outliers=outliers,
        outliers_n=outliers_n,
        skipped=dict(skipped),
    )
