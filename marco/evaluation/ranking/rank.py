"""The order of a sweep's settings, and the difference of each to the best.

The best of several was chosen because it came out best, and some of that is luck. So p-values are
those of any pair of settings, times the number of pairs (Bonferroni): where all settings are the
same, the chance that any of them is told apart from the one that came out best is at most the
level. What a difference is found from, items or seeds, is said in `marco.evaluation.compare`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from marco.evaluation.compare.corrections import holm
from marco.evaluation.compare.differences import judged
from marco.evaluation.compare.measure import Difference, Spreads, of_languages
from marco.evaluation.compare.pairing import Mismatch, mismatch, paired
from marco.evaluation.compare.run import Group, Run
from marco.evaluation.compare.significance import FLIPS, Array, Spread
from marco.evaluation.ranking.seeds import spreads
from marco.evaluation.ranking.settings import Setting
from marco.evaluation.rows import better


@dataclass(frozen=True)
class Ranked:
    """A setting with its result.

    Attributes:
        setting: the setting; its ``runs`` are those of ``values``.
        values: each run's mean over the languages.
        languages: language → mean over the runs.
        difference: to the best setting, its value less the best's; None of the best itself.
    """

    setting: Setting
    values: Sequence[float]
    languages: dict[str, float]
    difference: Difference | None

    @property
    def value(self) -> float:
        """The mean over the runs."""
        return statistics.fmean(self.values)

    @property
    def stderr(self) -> float | None:
        """Its standard error between seeds; None of a single run."""
        n = len(self.values)
        return statistics.stdev(self.values) / math.sqrt(n) if n > 1 else None


@dataclass(frozen=True)
class Winner:
    """The setting that is best in a language.

    Attributes:
        language: canonical code.
        ranked: its place in the ranking, from 0.
        value: its value.
        overall: the value of the setting that is best over all.
        difference: of the two, corrected for the choice of one of the settings, and for the number
            of languages; None where they are one.
    """

    language: str
    ranked: int
    value: float
    overall: float
    difference: Difference | None


@dataclass(frozen=True)
class Order:
    """Settings from the best to the worst.

    Attributes:
        ranked: the settings.
        winners: of every language.
        mismatches: languages in which the runs were measured on other items; if there are any,
            differences have no intervals.
        coarse: whether there are so many pairs that no outcome of single runs could be a finding.
    """

    ranked: Sequence[Ranked]
    winners: Sequence[Winner]
    mismatches: Sequence[Mismatch]
    coarse: bool


def order(
    settings: Sequence[tuple[Setting, Sequence[Run]]],
    task: str,
    metric: str,
    languages: Sequence[str],
    level: float = 0.05,
) -> Order:
    """Rank settings by their mean over languages, each counting once, and over seeds.

    Args:
        settings: with their runs, all of which have a value of every language.
        task: the task family.
        metric: one with a direction.
        languages: canonical codes.
        level: from which corrected p-value down a setting is told apart from the best.
    """
    sign = 1 if better(metric) == "lower" else -1
    means = [
        np.array(
            [[run.measured[task, metric, code].value or 0.0 for code in languages] for run in runs]
        )
        for _, runs in settings
    ]
    places = sorted(range(len(settings)), key=lambda place: sign * float(means[place].mean()))
    means = [means[place] for place in places]
    groups = [Group(str(place), settings[place][1]) for place in places]
    every = [run for group in groups for run in group.runs]
    wrong = [said for code in languages if (said := mismatch(every, task, code)) is not None]
    pairs = math.comb(len(groups), 2)

    @cache
    def known(codes: tuple[str, ...]) -> list[Spread] | None:
        columns = [languages.index(code) for code in codes]
        return spreads([values[:, columns].mean(axis=1).tolist() for values in means])

    differences: list[list[Difference]] = []
    for place in range(1, len(groups)):
        best, other = groups[0], groups[place]
        if wrong:
            differences.append(_plain(task, metric, languages, means[0], means[place]))
            continue
        kept = {code: paired(best, other, task, metric, code) for code in languages}
        whole = {code: pair if pair is None or pair.n else None for code, pair in kept.items()}
        found = of_languages(task, metric, whole, best, other, spreads=_of(known, place))
        differences.append(
            [replace(each, adjusted=float(np.minimum(each.p * pairs, 1))) for each in found]
        )
    overall = [None, *(judged(each[-1], each[-1].adjusted, level) for each in differences)]
    ranked = [
        Ranked(
            settings[place][0],
            values.mean(axis=1).tolist(),
            dict(zip(languages, values.mean(axis=0).tolist(), strict=True)),
            difference,
        )
        for place, values, difference in zip(places, means, overall, strict=True)
    ]
    single = all(len(group.runs) == 1 for group in groups)
    coarse = single and pairs / (FLIPS + 1) > level
    return Order(ranked, _winners(ranked, differences, sign, level), wrong, coarse)


def _of(known: Callable[[tuple[str, ...]], list[Spread] | None], place: int) -> Spreads:
    def chosen(codes: Sequence[str]) -> tuple[Spread, Spread] | None:
        found = known(tuple(codes))
        return None if found is None else (found[0], found[place])

    return chosen


def _plain(
    task: str, metric: str, languages: Sequence[str], best: Array, other: Array
) -> list[Difference]:
    """Differences of which nothing more is known: the items are others."""
    chosen: dict[str | None, list[int]] = {code: [i] for i, code in enumerate(languages)}
    if len(languages) > 1:
        chosen[None] = list(range(len(languages)))
    return [
        Difference(
            task=task,
            metric=metric,
            language=code,
            before=(before := float(best[:, place].mean())),
            after=(after := float(other[:, place].mean())),
            difference=after - before,
            n=0,
            runs=(len(best), len(other)),
            stderrs=(None, None),
            method="none",
            p=math.nan,
        )
        for code, place in chosen.items()
    ]


def _winners(
    ranked: Sequence[Ranked], differences: Sequence[Sequence[Difference]], sign: int, level: float
) -> list[Winner]:
    found: list[Winner] = []
    for place, code in enumerate(ranked[0].languages):
        first = min(range(len(ranked)), key=lambda index: sign * ranked[index].languages[code])
        difference = differences[first - 1][place] if first else None
        values = ranked[first].languages[code], ranked[0].languages[code]
        found.append(Winner(code, first, *values, difference))
    p = np.array([each.difference.adjusted if each.difference else math.nan for each in found])
    return [
        each
        if each.difference is None
        else replace(each, difference=judged(each.difference, float(adjusted), level))
        for each, adjusted in zip(found, holm(p), strict=True)
    ]
