"""Generated items → rows on their language, script, length and repetition, and the items' values.

Per language, over its generations:

- ``wrong_language``: share with a line in another language (``identifier``); a language that the
  identifier doesn't know, or that there is no real text of, has no value
- ``wrong_script``: share with less than half of the letters in the language's script
- ``too_short``: share with fewer than 20 letters, which the two above leave out
- ``length_ratio``: characters generated over characters of the references, both summed
- ``repetition``: mean seq-rep-4 (``repetition``)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from marco.evaluation.generations.identifier import LEAST_LETTERS, Identifier
from marco.evaluation.generations.repetition import repetition
from marco.evaluation.generations.scripts import expected_scripts, letters
from marco.evaluation.intervals import Z95, of_mean, of_ratio, wilson
from marco.evaluation.items import Item
from marco.evaluation.rows import Row
from marco.languages import get

SHARES = ("wrong_language", "wrong_script", "too_short")
CHARACTERS, REFERENCE = "length_ratio:characters", "length_ratio:reference"


def measure(
    task: str, items: Iterable[Item], identifier: Identifier | None = None
) -> tuple[list[Row], list[Item]]:
    """Return the rows of a task family, and its items with their own values added.

    Items that aren't generations (without a prediction, or with log-likelihoods) have no part in
    the rows, and come back as they are.

    Args:
        task: the rows' name.
        items: of any languages; all of a language are taken together.
        identifier: one that knows these languages; made here if there is none (0.5 s).
    """
    items = list(items)
    generated = [item for item in items if _is_generation(item)]
    if not generated:
        return [], items
    languages = list(dict.fromkeys(item.language for item in generated))
    judge = identifier or Identifier(languages)
    found = [
        replace(item, metrics={**item.metrics, **item_metrics(item, judge)})
        if _is_generation(item)
        else item
        for item in items
    ]
    rows: list[Row] = []
    for language in languages:
        mine = [
            item.metrics for item in found if item.language == language and _is_generation(item)
        ]
        rows += _rows(task, language, mine, judge)
    return rows, found


def item_metrics(item: Item, identifier: Identifier) -> dict[str, float]:
    """Return what can be measured of one generation, a length ratio as its two parts."""
    text = item.prediction or ""
    found: dict[str, float] = {}
    scripts = letters(text)
    total = scripts.total()
    found["too_short"] = float(total < LEAST_LETTERS)
    if total >= LEAST_LETTERS:
        expected = expected_scripts(item.language, item.target, LEAST_LETTERS)
        found["wrong_script"] = float(2 * sum(scripts[name] for name in expected) < total)
        wrong = identifier.wrong(text, item.language)
        if wrong is not None:
            found["wrong_language"] = float(wrong)
    repeated = repetition(text)
    if repeated is not None:
        found["repetition"] = repeated
    if item.target is not None and item.target.strip():
        found[CHARACTERS] = float(len(text.strip()))
        found[REFERENCE] = float(len(item.target.strip()))
    return found


def _is_generation(item: Item) -> bool:
    return item.prediction is not None and not item.loglikelihoods


def _rows(
    task: str, language: str, items: Sequence[Mapping[str, float]], identifier: Identifier
) -> list[Row]:
    group = get(language).group
    rows = []
    for metric in SHARES:
        values = [found[metric] for found in items if metric in found]
        reason = identifier.reason(language) if metric == "wrong_language" else None
        if reason is not None or not values:
            what = "line" if metric == "wrong_language" else "generation"
            reason = reason or f"every {what} is too short"
            rows.append(Row(task, language, group, metric, None, 0, reason=reason))
            continue
        n, yes = len(values), round(math.fsum(values))
        stderr = math.sqrt(yes * (n - yes) / (n - 1)) / n if n > 1 else None
        low, high = wilson(yes, n)
        rows.append(Row(task, language, group, metric, yes / n, n, low, high, stderr=stderr))
    rows.append(
        _ratio_row(
            Row(task, language, group, "length_ratio", None, 0, reason="there is no reference"),
            [found[CHARACTERS] for found in items if CHARACTERS in found],
            [found[REFERENCE] for found in items if REFERENCE in found],
        )
    )
    repeated = [found["repetition"] for found in items if "repetition" in found]
    nothing = Row(task, language, group, "repetition", None, 0, reason="no text of four words")
    rows.append(_ratio_row(nothing, repeated, None))
    return rows


def _ratio_row(nothing: Row, above: Sequence[float], below: Sequence[float] | None) -> Row:
    """A mean, or a ratio of sums; ``nothing`` where nothing was measured."""
    if not above:
        return nothing
    spread = of_mean(above) if below is None else of_ratio(above, below)
    low, high = spread or (None, None)
    return nothing.but(
        value=math.fsum(above) / (len(above) if below is None else math.fsum(below)),
        n=len(above),
        low=low,
        high=high,
        stderr=None if spread is None else (spread[1] - spread[0]) / (2 * Z95),
        reason=None,
    )
