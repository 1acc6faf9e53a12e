from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from marco.evaluation.history import Evaluation
from marco.evaluation.numbers import short
from marco.evaluation.rows import Row
from marco.evaluation.summary import TrainingFacts, build_summary, write_summary
from marco.evaluation.table import WIDTH, results_table
from marco.languages import MARCO_LANGUAGES, all_languages, get


def evaluation(tokens: int, bits: dict[str, float | None]) -> Evaluation:
    rows = []
    for language, value in bits.items():
        group = get(language).group
        nats = None if value is None else value * 100
        rows.append(Row("likelihood", language, group, "bits_per_byte", value, 5))
        rows.append(Row("likelihood", language, group, "nats_per_article", nats, 5))
        if language != "eng":
            rows.append(Row("lexicon", language, group, "lexicon_accuracy", 0.5, 32))
    return Evaluation(tokens // 10, tokens, tuple(rows))


def facts(*languages: str) -> TrainingFacts:
    tokens = {language: 1000 * (1 + index) for index, language in enumerate(languages)}
    return TrainingFacts(3000, 2.0, 1 << 20, tokens, {code: n / 500 for code, n in tokens.items()})


HISTORY = [
    evaluation(0, {"eng": 8.0, "swh": 6.0}),
    evaluation(1000, {"eng": 4.0, "swh": 4.5}),
    evaluation(3000, {"eng": 3.0, "swh": 2.0}),
]


def test_the_summary_has_exactly_its_keys() -> None:
    assert build_summary(facts("eng", "swh"), HISTORY, {"eng": 2.5, "swh": 1.5}) == {
        "macro": {"bits_per_byte": {"before": 7.0, "after": 2.5, "reference_xz": 2.0}},
        "languages": {
            "eng": {
                "bits_per_byte": {"before": 8.0, "after": 3.0, "reference_xz": 2.5},
                "nats_per_article": {"before": 800.0, "after": 300.0},
                "lexicon_accuracy": {"before": None, "after": None},
                "tokens": 1000,
                "epochs": 2.0,
            },
            "swh": {
                "bits_per_byte": {"before": 6.0, "after": 2.0, "reference_xz": 1.5},
                "nats_per_article": {"before": 600.0, "after": 200.0},
                "lexicon_accuracy": {"before": 0.5, "after": 0.5},
                "tokens": 2000,
                "epochs": 4.0,
            },
        },
        "tasks": {},
        "train": {
            "tokens": 3000,
            "seconds": 2.0,
            "tokens_per_second": 1500.0,
            "peak_memory_bytes": 1 << 20,
        },
        "ledger": {},
    }


def test_what_was_not_measured_is_null(tmp_path: Path) -> None:
    empty = TrainingFacts(0, 0.0, None, {"eng": 0}, {"eng": 0.0})
    path = write_summary(tmp_path / "run", build_summary(empty, [], {}))
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    nothing = {"before": None, "after": None, "reference_xz": None}
    assert summary["macro"]["bits_per_byte"] == nothing
    assert summary["languages"]["eng"]["bits_per_byte"] == nothing
    assert summary["train"]["tokens_per_second"] is None
    assert [found.name for found in path.parent.iterdir()] == ["summary.json"]


def test_an_untrained_run_has_no_after_and_a_failed_language_no_value() -> None:
    summary = build_summary(facts("eng", "swh"), HISTORY[:1], {})
    assert summary["macro"]["bits_per_byte"]["after"] is None
    failed = [evaluation(0, {"eng": 8.0, "swh": None}), evaluation(9, {"eng": math.nan})]
    summary = build_summary(facts("eng", "swh"), failed, {})
    assert summary["macro"]["bits_per_byte"] == {
        "before": 8.0,
        "after": None,
        "reference_xz": None,
    }


def test_a_language_that_is_evaluated_and_not_trained_on_is_there() -> None:
    summary = build_summary(facts("swh"), HISTORY, {})
    assert list(summary["languages"]) == ["swh", "eng"]
    assert summary["languages"]["eng"]["tokens"] == 0


def rendered(summary: dict[str, Any]) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=WIDTH).print(results_table(summary))
    return text.getvalue().splitlines()


def test_the_table_has_one_row_a_language_by_group_and_the_averages() -> None:
    history = [
        evaluation(0, {"swh": 6.0, "eng": 8.0, "yor": 7.0}),
        evaluation(9, {"swh": 2.0, "eng": 3.0, "yor": 7.5}),
    ]
    lines = rendered(build_summary(facts("swh", "eng", "yor"), history, {"swh": 1.5}))
    assert [" ".join(line.split()) for line in lines[4:] if line.strip()] == [
        "English eng english 8.000 3.000 -5.000 – – 2k 4.00",
        "Swahili swh low 6.000 2.000 -4.000 1.500 0.50 1k 2.00",
        "Yoruba yor low 7.000 7.500 +0.500 – 0.50 3k 6.00",
        "Mean of 2 low 6.500 4.750 -1.750 1.500 0.50 4k 4.00",
        "Macro average of 3 7.000 4.167 -2.833 1.500 0.50 6k 4.00",
    ]


@pytest.mark.parametrize("codes", [["swh"], MARCO_LANGUAGES, [x.code for x in all_languages()]])
def test_the_table_fits_and_cuts_no_number(codes: list[str]) -> None:
    history = [evaluation(0, dict.fromkeys(codes, 10.1)), evaluation(9, dict.fromkeys(codes, 22.5))]
    summary = build_summary(facts(*codes), history, dict.fromkeys(codes, 2.0))
    lines = rendered(summary)
    assert max(map(len, lines)) <= WIDTH
    assert sum("+12.400" in line for line in lines) >= len(codes)
    assert all(any(code in line for line in lines) for code in codes)


def test_the_table_of_a_run_without_evaluations_still_counts_tokens() -> None:
    lines = rendered(build_summary(facts("eng", "swh"), [], {}))
    assert lines[0].startswith("Not evaluated · 3k tokens")
    assert [" ".join(line.split()) for line in lines[4:] if line.strip()] == [
        "English eng english 1k 2.00",
        "Swahili swh low 2k 4.00",
        "Macro average of 2 3k 3.00",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (950, "950"), (1000, "1k"), (31034, "31k"), (1_253_000, "1.25M"), (3e11, "300B")],
)
def test_counts_are_short(count: float, text: str) -> None:
    assert short(count) == text


def test_other_tasks_before_and_after() -> None:
    def rows(*values: tuple[str, str, float]) -> tuple[Row, ...]:
        found = [Row("belebele", code, get(code).group, m, v, 9) for code, m, v in values]
        part = Row("belebele", "swh", "low", "acc", 0.9, 9, subtask="belebele_part")
        return (*found, part)

    history = [
        Evaluation(0, 0, rows(("swh", "acc", 0.25), ("eng", "acc", 0.35), ("swh", "f1", 0.1))),
        Evaluation(9, 900, rows(("swh", "acc", 0.5), ("eng", "acc", 0.4))),
    ]
    tasks = build_summary(facts("swh"), history, {})["tasks"]
    assert tasks["belebele"] == {
        "macro": {"before": pytest.approx(0.3), "after": pytest.approx(0.45)},
        "languages": {
            "swh": {"before": 0.25, "after": 0.5},
            "eng": {"before": 0.35, "after": 0.4},
        },
    }
    assert tasks["belebele.f1"]["languages"] == {"swh": {"before": 0.1, "after": None}}
