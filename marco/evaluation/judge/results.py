"""What a comparison leaves in its folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from marco.evaluation.generations.identifier import Identifier
from marco.evaluation.generations.measure import measure
from marco.evaluation.judge.answer_files import Turns, write_answers
from marco.evaluation.judge.judging import Comparison, write_judgements
from marco.evaluation.judge.questions import Question
from marco.evaluation.judge.scores import BASELINE, TASK, items, rows
from marco.evaluation.results.aggregates import Aggregate, aggregate_all
from marco.evaluation.results.items import write_items
from marco.evaluation.results.table import (
    Measured,
    tidy,
    tidy_aggregates,
    write_aggregates,
    write_results,
)
from marco.evaluation.rows import Row

log = logging.getLogger(__name__)


def write_comparison(
    folder: Path,
    of: Measured,
    questions: Sequence[Question],
    model: Sequence[Turns],
    baseline: tuple[str, Sequence[Turns]],
    comparisons: Sequence[Sequence[Comparison]],
) -> tuple[list[Row], list[Aggregate]]:
    """Write the results of a comparison, and return its rows and aggregates.

    The rows are those of the judge, and of both sides' answers what `generations.measure` finds: of
    the baseline as a subtask, so that it is left out of averages. ``judgements.jsonl`` has all that
    the judge said, ``answers/`` what it read. A full disk costs the files and not the comparison.

    Args:
        folder: for the results.
        of: the model.
        questions: all that were asked.
        model: its answers.
        baseline: its name and answers.
        comparisons: see `judging.judge`.
    """
    identifier = Identifier(question.language for question in questions)
    confusion, mine = measure(TASK, items(questions, model, comparisons), identifier)
    name, answers = baseline
    theirs, others = measure(TASK, items(questions, answers, None), identifier)
    found = [
        *rows(questions, comparisons),
        *confusion,
        *(row.but(subtask="baseline") for row in theirs),
    ]
    others = [replace(item, task=BASELINE) for item in others]
    aggregates = aggregate_all(found, {TASK: mine})
    try:
        write_results(folder, tidy(found, of))
        write_items(folder, [*mine, *others])
        write_aggregates(folder, tidy_aggregates(aggregates, of))
        write_judgements(folder, questions, comparisons)
        (folder / "answers").mkdir(exist_ok=True)
        write_answers(folder / "answers" / "model.jsonl", of.run, questions, model)
        write_answers(folder / "answers" / "baseline.jsonl", name, questions, answers)
    except OSError as error:
        log.warning("The results could not be written whole: %s", error)
    return found, aggregates
