from __future__ import annotations

import math

import pytest

from marco.evaluation.generations.identifier import Identifier
from marco.evaluation.generations.measure import measure
from marco.evaluation.items import Item
from marco.evaluation.results.samples import Sample, of_rows
from marco.evaluation.rows import Row

Declarations = dict[str, dict[int, str]]
METRICS = {"wrong_language", "wrong_script", "too_short", "length_ratio", "repetition"}


def made(language: str, prediction: str | None, target: str | None, number: int = 0) -> Item:
    return Item("flores_x", language, str(number), {"acc": 1.0}, prediction, target)


def by_metric(rows: list[Row], language: str) -> dict[str, Row]:
    return {row.metric: row for row in rows if row.language == language}


def test_a_model_that_answers_in_english(
    identifier: Identifier, declarations: Declarations
) -> None:
    """Four of ten Swahili and Thai answers are English, two say next to nothing."""
    items = []
    for code in ("swh", "tha"):
        for number in range(1, 11):
            target = declarations[code][number]
            said = declarations["eng"][number] if number < 5 else target
            items.append(made(code, "…" if number > 8 else said, target, number))
    rows, found = measure("flores", items, identifier)
    assert {(row.task, row.subtask) for row in rows} == {("flores", None)}
    swahili, thai = by_metric(rows, "swh"), by_metric(rows, "tha")
    assert set(swahili) == set(thai) == METRICS
    for rows_of in (swahili, thai):
        assert (rows_of["wrong_language"].value, rows_of["wrong_language"].n) == (4 / 8, 8)
        assert (rows_of["too_short"].value, rows_of["too_short"].n) == (2 / 10, 10)
        stderr = math.sqrt(0.5 * 0.5 / 7)
        assert rows_of["wrong_language"].stderr == pytest.approx(stderr)
        assert rows_of["wrong_language"].low < 0.5 < rows_of["wrong_language"].high
    assert (swahili["wrong_script"].value, thai["wrong_script"].value) == (0, 0.5)
    assert swahili["wrong_script"].group == "low"
    assert all("acc" in item.metrics for item in found)
    assert [item.prediction for item in found] == [item.prediction for item in items]


def test_length_and_repetition(identifier: Identifier) -> None:
    text = "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa"
    items = [made("swh", text + "  ", text), made("swh", text * 2, text), made("swh", text, None)]
    rows, _ = measure("t", items, identifier)
    ratio = by_metric(rows, "swh")["length_ratio"]
    assert (ratio.value, ratio.n) == (pytest.approx(1.5), 2)
    looping = [made("swh", "huru na haki sawa " * 30, text)]
    assert by_metric(measure("t", looping, identifier)[0], "swh")["repetition"].value > 0.9
    assert by_metric(rows, "swh")["repetition"].n == 3


def test_items_can_be_resampled(identifier: Identifier, declarations: Declarations) -> None:
    """The rows' values are those of the items that come back."""
    items = [
        made("swh", declarations["eng" if number % 3 else "swh"][number], "haki sawa", number)
        for number in range(1, 10)
    ]
    rows, found = measure("flores", items, identifier)
    for metric in METRICS:
        (sample,) = of_rows(rows, found, "flores", metric).values()
        assert isinstance(sample, Sample), metric


def test_what_was_not_measured_says_why(identifier: Identifier) -> None:
    text = "Vanhu hinkwavo va tswariwile va ri na ntshunxeko"
    rows, _ = measure("t", [made("tso", text, None), made("swh", "ndiyo", None)], identifier)
    tsonga, swahili = by_metric(rows, "tso"), by_metric(rows, "swh")
    assert tsonga["wrong_language"].value is None
    assert tsonga["wrong_language"].reason == "not a language of the identifier"
    assert tsonga["wrong_script"].value == 0
    assert swahili["wrong_language"].reason == "every line is too short"
    assert swahili["too_short"].value == 1
    assert swahili["length_ratio"].reason == "there is no reference"
    assert swahili["repetition"].reason == "no text of four words"


def test_choices_and_likelihoods_are_no_generations() -> None:
    items = [
        Item("arc", "eng", "a", {"acc": 1.0}, "banana", "fig", (-1.0, -2.0)),
        Item("likelihood", "eng", "b", {}, None, None, (-9.0,)),
        Item("likelihood", "eng", "c"),
    ]
    assert measure("t", items) == ([], items)
