"""Contamination as rows, beside the scores of the same tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marco.evaluation.contamination.choices import ChoiceItem
from marco.evaluation.contamination.ngram_index import NgramIndex
from marco.evaluation.contamination.option_order import OptionOrder, Score, option_order_test
from marco.evaluation.contamination.overlap import overlap
from marco.evaluation.contamination.tasks import choice_items, texts
from marco.evaluation.harness.prepared import PreparedTask
from marco.evaluation.harness.ranks import in_step
from marco.evaluation.intervals import wilson
from marco.evaluation.rows import Row
from marco.languages import get

if TYPE_CHECKING:
    from lm_eval.api.model import LM

log = logging.getLogger(__name__)

#: Items of a language that are tested: 24 texts each, and enough to tell 10 % flagged from 1/24.
ITEMS = 200
NO_OPTIONS = "its prompts do not list the options"


def contamination_rows(
    lm: LM, tasks: Sequence[PreparedTask], *, option_order: bool, index: Path | None
) -> list[Row]:
    """Return the rows of the ways that are asked for; one that fails says why in a row of its own.

    Args:
        lm: a model of lm-eval's interface.
        tasks: of one family.
        option_order: whether to make that test.
        index: of n-grams to look the documents up in, or None.
    """
    ways: list[tuple[str, Callable[[], list[Row]]]] = []
    if option_order:
        ways.append(("option_order_p", lambda: option_order_rows(lm, tasks)))
    if index is not None:
        ways.append(("overlap", lambda: overlap_rows(index, tasks)))
    rows = []
    for metric, way in ways:
        try:
            rows += way()
        except Exception as error:
            if in_step():
                raise
            reason = f"{type(error).__name__}: {error}"
            log.warning("%s of %s failed: %s", metric, tasks[0].family, reason)
            for family, language in dict.fromkeys((t.family, t.language) for t in tasks):
                group = get(language).group
                rows.append(Row(family, language, group, metric, None, 0, reason=reason))
    return rows


def option_order_rows(
    lm: LM, tasks: Sequence[PreparedTask], items: int | None = ITEMS
) -> list[Row]:
    """Test a model on tasks; rows for each family and language with multiple-choice tasks.

    `option_order_share` is the share of items whose published order is the likeliest,
    `option_order_p` the p-value of so many, `option_order_outliers` the share with any order that
    stands out (see `option_order`). Over several languages the p-values are of as many tests:
    correct them as such.

    Args:
        lm: a model of lm-eval's interface, such as `MarcoLM`.
        tasks: prepared; the documents tested are those they ask about.
        items: of a language and family at most, those with the smallest ids; None: all.

    Raises:
        Whatever the model raises.
    """
    rows = []
    for (family, language), parts in _together(tasks):
        if not any(part.task.OUTPUT_TYPE == "multiple_choice" for part in parts):
            continue
        found = [item for part in parts for item in choice_items(part)]
        # an id is a hash: the smallest are a sample, the same for every model
        chosen: list[ChoiceItem] = sorted(found, key=lambda item: item.id)[:items]
        rows += _rows(family, language, option_order_test(chosen, likelihoods(lm)))
    return rows


def overlap_rows(index: Path, tasks: Sequence[PreparedTask]) -> list[Row]:
    """Look the documents of tasks up in the n-grams of a corpus; see `overlap` for the rows.

    Args:
        index: the folder that `marco ngrams` wrote.
        tasks: prepared; a document's text is its prompt with the right answer.

    Raises:
        ConfigError, DataError: no index, or a damaged one.
    """
    opened = NgramIndex(index)
    rows = []
    for (family, language), parts in _together(tasks):
        found = [(language, text) for part in parts for text in texts(part)]
        rows += overlap(family, found, opened)
    return rows


def likelihoods(lm: LM) -> Score:
    """Return lm-eval's `loglikelihood` of a model as the option-order test takes it."""
    from lm_eval.api.instance import Instance

    def score(pairs: list[tuple[str, str]]) -> list[float]:
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=number)
            for number, pair in enumerate(pairs)
        ]
        return [float(loglikelihood) for loglikelihood, _ in lm.loglikelihood(requests)]

    return score


def _together(
    tasks: Sequence[PreparedTask],
) -> Iterator[tuple[tuple[str, str], list[PreparedTask]]]:
    """Yield the tasks of every family and language (MMLU's subjects), without those that failed."""
    parts: dict[tuple[str, str], list[PreparedTask]] = {}
    for task in tasks:
        if task.failure is None:
            parts.setdefault((task.family, task.language), []).append(task)
    yield from parts.items()


def _rows(family: str, language: str, found: OptionOrder) -> list[Row]:
    group = get(language).group

    def row(metric: str, value: float | None, n: int) -> Row:
        return Row(family, language, group, metric, value, n)

    if found.n == 0:
        reasons = [f"{count} items with {why}" for why, count in found.skipped.items()]
        return [row("option_order_p", None, 0).but(reason="; ".join(reasons) or NO_OPTIONS)]
    rows = [row("option_order_p", found.p_value, found.n)]
    shares = {
        "option_order_share": (found.flagged, found.n, found.expected),
        "option_order_outliers": (found.outliers, found.outliers_n, None),
    }
    for metric, (count, n, chance) in shares.items():
        if n:
            low, high = wilson(count, n)
            rows.append(row(metric, count / n, n).but(low=low, high=high, chance=chance))
    return rows
