"""One difference between two groups of runs, with its p-value and interval: how it is found.

Of single runs, the same items are paired: McNemar's test where an item is right or wrong, sign
flips else, and a bootstrap interval. That says whether *these two models* differ. Whether what was
changed would make the same difference again, only runs of several seeds say; given these, the
variance between seeds counts. Without items two values are compared by their standard errors as if
the items were others, which is careful; without these, there is a difference and nothing more.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from marco.evaluation.compare.run import Group
from marco.evaluation.compare.significance import (
    Array,
    Paired,
    Spread,
    mcnemar,
    of_seeds,
    sign_flip,
    t_interval,
    t_test,
)
from marco.evaluation.results.samples import Sample
from marco.evaluation.rows import better

REPLICATES = 2000

Method = Literal["mcnemar", "sign-flip", "seeds", "normal", "none"]
Verdict = Literal["better", "worse", "changed", ""]

#: Languages → how their mean varies with the seed in the first group, and in the second.
Spreads = Callable[[Sequence[str]], tuple[Spread, Spread] | None]


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of a language, or its mean over languages, in two groups of runs.

    Attributes:
        task: the task family.
        metric: of the rows.
        language: canonical code; None of the mean over languages, each counting once.
        before: mean over the runs of the first group.
        after: of the second.
        difference: after less before.
        n: items that were paired, or that the values are of.
        runs: how many there are on each side.
        stderrs: standard error between the seeds of each side; None of a single run.
        method: what ``p`` and the interval are by.
        p: of no difference; NaN where nothing is known.
        low: lower end of the 95 % interval, of this one alone; None where nothing is known.
        high: its upper end.
        worse: items right before and wrong after; of several seeds, the mean over pairs of runs.
            None where items are not right or wrong.
        improved: items wrong before and right after.
        adjusted: p corrected for the other languages of this task and metric.
        verdict: where ``adjusted`` is at most the level: ``changed`` of a metric without direction.
    """

    task: str
    metric: str
    language: str | None
    before: float
    after: float
    difference: float
    n: int
    runs: tuple[int, int]
    stderrs: tuple[float | None, float | None]
    method: Method
    p: float
    low: float | None = None
    high: float | None = None
    worse: float | None = None
    improved: float | None = None
    adjusted: float = math.nan
    verdict: Verdict = ""


def of_languages(
    task: str,
    metric: str,
    pairs: Mapping[str, Paired | None],
    before: Group,
    after: Group,
    seed: int = 0,
    spreads: Spreads | None = None,
) -> list[Difference]:
    """Return the difference of each language, and last, if there are several, that of their mean.

    Args:
        task: the task family.
        metric: of the rows.
        pairs: language → its items (`marco.evaluation.compare.pairing.paired`).
        before: the first group; every run has a value of each language.
        after: the second group.
        seed: of bootstrap and sign flips; a language's draws do not depend on the other languages.
        spreads: of languages' mean, how it varies with the seed in each group, where more than
            these runs say it; None, or where it gives None: these runs do.
    """
    whole = {
        code: pair or _of_values(before, after, (task, metric, code))
        for code, pair in pairs.items()
    }
    chosen: list[tuple[str | None, list[str]]] = [(code, [code]) for code in pairs]
    if len(pairs) > 1:
        chosen.append((None, list(pairs)))
    found = []
    for language, codes in chosen:
        mine = [whole[code] for code in codes]
        known = all(pairs[code] is not None for code in codes)
        rows = [
            run.measured[task, metric, code]
            for side in (before, after)
            for run in side.runs
            for code in codes
        ]
        generator = np.random.default_rng([seed, zlib.crc32(str(language).encode())])
        spread = None if spreads is None else spreads(codes)
        if spread is not None or max(len(before.runs), len(after.runs)) > 1:
            tested = _by_seeds(mine, generator, spread)
        elif known:
            tested = _by_items(mine, generator)
        else:
            tested = _by_errors([row.stderr for row in rows], _difference(mine), len(codes))
        values = [np.mean([_means(pair, side) for pair in mine], axis=0) for side in (0, 1)]
        n = sum(
            pair.n if pairs[code] is not None else min(r.n for r in rows if r.language == code)
            for code, pair in zip(codes, mine, strict=True)
        )
        if known:
            tested |= _flips(mine, metric)
        found.append(
            Difference(
                task=task,
                metric=metric,
                language=language,
                before=float(values[0].mean()),
                after=float(values[1].mean()),
                difference=_difference(mine),
                n=n,
                runs=(len(before.runs), len(after.runs)),
                stderrs=(_stderr(values[0]), _stderr(values[1])),
                **tested,
            )
        )
    return found


def _of_values(before: Group, after: Group, key: tuple[str, str, str]) -> Paired:
    """The runs' values, as if of a single item."""
    values = [
        np.array([[run.measured[key].value or 0.0] for run in side.runs])
        for side in (before, after)
    ]
    return Paired(values[0], values[1], np.ones(1))


def _means(pair: Paired, side: int) -> Array:
    values = (pair.before, pair.after)[side]
    return np.asarray((values * pair.weights).mean(axis=1))


def _difference(pairs: list[Paired]) -> float:
    return float(np.mean([(pair.differences * pair.weights).mean() for pair in pairs]))


def _stderr(values: Array) -> float | None:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None


def _by_seeds(
    pairs: list[Paired], generator: np.random.Generator, spreads: tuple[Spread, Spread] | None
) -> dict[str, Any]:
    difference, spread = _difference(pairs), of_seeds(pairs, spreads)
    # all alike, up to rounding, as few items often are: that says nothing on how they vary
    if spread[0] <= 1e-9 * abs(difference):
        return {"method": "sign-flip", "p": sign_flip(_weighted(pairs), generator)}
    low, high = t_interval(difference, *spread)
    return {"method": "seeds", "p": t_test(difference, *spread), "low": low, "high": high}


def _by_items(pairs: list[Paired], generator: np.random.Generator) -> dict[str, Any]:
    """One run a side: each language's items are redrawn, and flipped, within the language."""
    draws = np.mean(
        [
            Sample(pair.differences * pair.weights, pair.weights).draws(generator, REPLICATES)
            for pair in pairs
        ],
        axis=0,
    )
    known = not np.isnan(draws).any()
    low, high = np.percentile(draws, [2.5, 97.5]).tolist() if known else (None, None)
    if len(pairs) == 1 and _is_binary(pairs[0]):
        moved = pairs[0].differences
        p = mcnemar(int((moved > 0).sum()), int((moved < 0).sum()))
        return {"method": "mcnemar", "p": p, "low": low, "high": high}
    p = sign_flip(_weighted(pairs), generator)
    return {"method": "sign-flip", "p": p, "low": low, "high": high}


def _weighted(pairs: list[Paired]) -> Array:
    """The items' parts of the mean over languages' differences, up to a factor."""
    return np.concatenate([pair.differences * pair.weights / pair.n for pair in pairs])


def _by_errors(stderrs: list[float | None], difference: float, languages: int) -> dict[str, Any]:
    known = [stderr for stderr in stderrs if stderr is not None]
    spread = math.hypot(*known) / languages, math.inf
    if len(known) < len(stderrs) or spread[0] == 0:
        return {"method": "none", "p": math.nan}
    low, high = t_interval(difference, *spread)
    return {"method": "normal", "p": t_test(difference, *spread), "low": low, "high": high}


def _is_binary(pair: Paired) -> bool:
    return all(np.isin(side, (0, 1)).all() for side in (pair.before, pair.after)) and bool(
        (pair.weights == 1).all()
    )


def _flips(pairs: list[Paired], metric: str) -> dict[str, Any]:
    """How many items went wrong, and right: of several seeds, as a pair drawn by chance."""
    direction = better(metric)
    if direction is None or not all(map(_is_binary, pairs)):
        return {}
    fell = sum(float((p.before.mean(0) * (1 - p.after.mean(0))).sum()) for p in pairs)
    rose = sum(float(((1 - p.before.mean(0)) * p.after.mean(0)).sum()) for p in pairs)
    worse, improved = (fell, rose) if direction == "higher" else (rose, fell)
    return {"worse": worse, "improved": improved}
