"""Comparisons → shares of wins, ties and losses in every language, with intervals.

The unit is the question: its turns share a conversation, so their outcomes are averaged before
anything is said about the error. The rows of single turns have ``turn 1``, ``turn 2`` as subtask.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from marco.evaluation.intervals import Z95, wilson
from marco.evaluation.items import Item
from marco.evaluation.judge.answer_files import Turns
from marco.evaluation.judge.judging import Comparison
from marco.evaluation.judge.questions import Question
from marco.evaluation.rows import Row
from marco.languages import get

TASK = "mt_bench"
#: The items of the other side, to be seen beside the model's.
BASELINE = f"{TASK}_baseline"
#: ``win_rate`` is win + tie / 2; ``disagreement`` the share of comparisons that are ties because
#: the two orders disagree; ``unjudged`` the share without a verdict.
METRICS = ("win_rate", "win", "tie", "loss", "disagreement", "unjudged")
_WORTH = {"win": 1.0, "tie": 0.5, "loss": 0.0}
_SIDES = {"model": 1.0, "tie": 0.5, "baseline": 0.0}


def items(
    questions: Sequence[Question],
    answers: Sequence[Turns],
    comparisons: Sequence[Sequence[Comparison]] | None,
    task: str = TASK,
) -> list[Item]:
    """Return an item for each question: the answers to all its turns, and what they were worth.

    Beside `METRICS` (means over the turns that were judged) an item has, of each turn, ``turn_1``:
    1 is a win, 0.5 a tie, 0 a loss; ``turn_1:first`` and ``turn_1:second`` are the verdicts with
    the model's answer in this place.
    """
    return [
        Item(
            task=task,
            language=question.language,
            id=question.content,
            metrics={} if comparisons is None else _values(comparisons[index]),
            prediction="\n\n".join(answers[index]),
            target="\n\n".join(each for each in question.references if each) or None,
        )
        for index, question in enumerate(questions)
    ]


def rows(
    questions: Sequence[Question], comparisons: Sequence[Sequence[Comparison]], task: str = TASK
) -> list[Row]:
    """Return the rows of every language, and of its turns where there are several."""
    found: list[Row] = []
    for language in dict.fromkeys(question.language for question in questions):
        mine = [c for q, c in zip(questions, comparisons, strict=True) if q.language == language]
        found += _rows(task, language, mine, None)
        count = max(map(len, mine))
        for turn in range(count if count > 1 else 0):
            of_turn = [[each[turn]] for each in mine if len(each) > turn]
            found += _rows(task, language, of_turn, f"turn {turn + 1}")
    return found


def failures(comparisons: Sequence[Sequence[Comparison]]) -> Counter[str]:
    """Return {reason: judgements that failed for it}."""
    return Counter(
        judgement.failure
        for turns in comparisons
        for each in turns
        for judgement in (each.first, each.second)
        if judgement.failure is not None
    )


def share_interval(values: Sequence[float], parts: int = 1) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values in [0, 1].

    Of zeros and ones it is Wilson's. A value that is the mean of up to ``parts`` outcomes varies
    less: then it is Wilson's of as many independent outcomes as have the error that was found,
    n_eff = p (1 - p) / (s² / n), at most n · parts (Franco et al., Journal of Survey Statistics
    and Methodology 7, 2019: Wilson's with the effective sample size).
    """
    n = len(values)
    share = math.fsum(values) / n
    squares = math.fsum((value - share) ** 2 for value in values)
    free = share * (1 - share)
    effective: float = n
    if parts > 1 and n > 1 and any(value not in (0, 1) for value in values):
        effective = n * parts if squares == 0 else min(free * n * (n - 1) / squares, n * parts)
    return wilson(share * effective, effective)


def rate_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of win rates (1 a win, 0.5 a tie, 0 a loss).

    That of Bonett & Price (Journal of Educational and Behavioral Statistics 37, 2012) for the
    difference of two paired proportions, wins - losses: one win and one loss are added, then the
    normal interval is taken. It has a width even where all are ties.
    """
    n = len(values) + 2
    mean = (math.fsum(values) + 1) / n
    squares = math.fsum(value * value for value in values) + 1
    half = Z95 * math.sqrt((squares / n - mean * mean) / n)
    return max(mean - half, 0.0), min(mean + half, 1.0)


def _rows(
    task: str, language: str, mine: Sequence[Sequence[Comparison]], subtask: str | None
) -> Iterator[Row]:
    values = [_values(turns) for turns in mine]
    parts = max(map(len, mine))
    reasons = failures(mine)
    for metric in METRICS:
        row = Row(task, language, get(language).group, metric, None, 0, subtask=subtask)
        had = [found[metric] for found in values if metric in found]
        if not had:
            reason = reasons.most_common(1)[0][0]
            yield row.but(reason=f"no comparison has both verdicts: {reason}")
            continue
        n = len(had)
        mean = math.fsum(had) / n
        squares = math.fsum((value - mean) ** 2 for value in had)
        low, high = rate_interval(had) if metric == "win_rate" else share_interval(had, parts)
        stderr = math.sqrt(squares / (n - 1) / n) if n > 1 else None
        yield row.but(value=mean, n=n, low=low, high=high, stderr=stderr)


def _values(turns: Sequence[Comparison]) -> Mapping[str, float]:
    judged = [each for each in turns if each.outcome is not None]
    found = {"unjudged": 1 - len(judged) / len(turns)}
    if judged:
        outcomes = Counter(each.outcome for each in judged)
        found |= {name: outcomes[name] / len(judged) for name in ("win", "tie", "loss")}
        found["win_rate"] = found["win"] + found["tie"] / 2
        found["disagreement"] = sum(each.disagrees for each in judged) / len(judged)
    for each in turns:
        name = f"turn_{each.first.turn + 1}"
        if each.outcome is not None:
            found[name] = _WORTH[each.outcome]
        for place, judgement in (("first", each.first), ("second", each.second)):
            if judgement.winner is not None:
                found[f"{name}:{place}"] = _SIDES[judgement.winner]
    return found
