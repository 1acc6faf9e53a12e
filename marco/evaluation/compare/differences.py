"""Every language, task and metric of one run, or of the seeds of one, against another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from marco.evaluation.compare.corrections import CORRECTIONS
from marco.evaluation.compare.measure import Difference, Verdict, of_languages
from marco.evaluation.compare.pairing import Mismatch, mismatch, paired
from marco.evaluation.compare.run import Group
from marco.evaluation.rows import better


@dataclass(frozen=True)
class Comparison:
    """A group of runs against the first one.

    Attributes:
        before: the first group.
        after: the other one.
        languages: differences of every language that could be compared.
        means: over these languages, of each task and metric with several.
        mismatches: what was not compared, because the items are others.
        missing: (task, metric, language) that some runs have and some don't, or none of whose
            items has a value in all of them.
    """

    before: Group
    after: Group
    languages: Sequence[Difference]
    means: Sequence[Difference]
    mismatches: Sequence[Mismatch]
    missing: Sequence[tuple[str, str, str]]

    def of(self, task: str, metric: str) -> list[Difference]:
        """Return the languages' differences in one metric of a task."""
        return [each for each in self.languages if (each.task, each.metric) == (task, metric)]

    @property
    def measures(self) -> list[tuple[str, str]]:
        """The tasks and metrics that were compared, in their order."""
        return list(dict.fromkeys((each.task, each.metric) for each in self.languages))


def compare(
    before: Group, after: Group, *, correction: str = "holm", level: float = 0.05, seed: int = 0
) -> Comparison:
    """Compare two groups of runs in everything that both have.

    Args:
        before: a run, or several of one setting.
        after: the same.
        correction: over the languages of a task and metric, one of `CORRECTIONS`; a mean over
            languages is one test and not corrected.
        level: from which adjusted p-value down a difference is a finding.
        seed: of bootstrap and sign flips.
    """
    runs = [*before.runs, *after.runs]
    keys = dict.fromkeys(key for run in runs for key in run.measured)
    common = dict.fromkeys(key for key in keys if all(key in run.measured for run in runs))
    places = dict.fromkeys((task, language) for task, _, language in common)
    wrong = {place: said for place in places if (said := mismatch(runs, *place)) is not None}
    languages: list[Difference] = []
    means: list[Difference] = []
    for task, metric in list(dict.fromkeys((task, metric) for task, metric, _ in common)):
        pairs = {
            code: paired(before, after, task, metric, code)
            for t, m, code in common
            if (t, m) == (task, metric) and (task, code) not in wrong
        }
        empty = [code for code, pair in pairs.items() if pair is not None and pair.n == 0]
        for code in empty:
            del pairs[code], common[task, metric, code]
        found = of_languages(task, metric, pairs, before, after, seed)
        alone = [each for each in found if each.language is not None]
        adjusted = CORRECTIONS[correction](np.array([each.p for each in alone]))
        languages += [
            judged(each, float(p), level) for each, p in zip(alone, adjusted, strict=True)
        ]
        means += [judged(each, each.p, level) for each in found if each.language is None]
    missing = [key for key in keys if key not in common]
    return Comparison(before, after, languages, means, list(wrong.values()), missing)


def judged(difference: Difference, adjusted: float, level: float) -> Difference:
    """Return a difference with its corrected p-value, and what that makes of it."""
    verdict: Verdict = ""
    if adjusted <= level and difference.difference != 0:  # NaN is not
        direction = better(difference.metric)
        rose = difference.difference > 0
        verdict = "better" if rose == (direction == "higher") else "worse"
        verdict = "changed" if direction is None else verdict
    return replace(difference, adjusted=adjusted, verdict=verdict)
