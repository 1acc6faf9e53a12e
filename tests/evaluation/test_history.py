from __future__ import annotations

from pathlib import Path

from marco.evaluation.history import (
    FILE_NAME,
    Evaluation,
    after,
    before,
    from_records,
    read_history,
    to_frame,
    to_records,
    write_history,
)
from marco.evaluation.rows import Row
from marco.evaluation.scalars import line, scalars


def evaluation(step: int, value: float) -> Evaluation:
    rows = (
        Row("likelihood", "swh", "low", "bits_per_byte", value, 5, value - 0.1, value + 0.1),
        Row("likelihood", "deu", "high", "bits_per_byte", 1.0, 5),
        Row("lexicon", "swh", "low", "lexicon_accuracy", None, 0, reason="RuntimeError: no"),
    )
    return Evaluation(step, step * 100, rows)


HISTORY = [evaluation(0, 8.0), evaluation(5, 4.0), evaluation(9, 3.0)]


def test_the_file_holds_one_tidy_row_a_line(tmp_path: Path) -> None:
    write_history(tmp_path, HISTORY[:1])
    write_history(tmp_path, HISTORY)
    assert read_history(tmp_path) == HISTORY
    assert len((tmp_path / FILE_NAME).read_text(encoding="utf-8").splitlines()) == 9
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert read_history(tmp_path / "nowhere") == []
    assert from_records(to_records(HISTORY)) == HISTORY


def test_before_is_untrained_and_after_is_last() -> None:
    assert before(HISTORY) == HISTORY[0]
    assert after(HISTORY) == HISTORY[2]
    assert before(HISTORY[1:]) is None
    assert after(HISTORY[:1]) is None


def test_the_frame_is_language_by_metric_by_step() -> None:
    frame = to_frame(HISTORY)
    assert len(frame) == 9
    assert frame.loc[0, "name"] == "Swahili"
    pivot = frame[frame.metric == "bits_per_byte"].pivot(
        index="language", columns="step", values="value"
    )
    assert pivot.loc["swh"].tolist() == [8, 4, 3]
    assert to_frame([]).empty


def test_scalars_have_languages_macro_and_groups() -> None:
    assert scalars(HISTORY[0]) == {
        "eval/bits_per_byte/macro": 4.5,
        "eval/bits_per_byte/swh": 8.0,
        "eval/bits_per_byte/deu": 1.0,
        "eval/bits_per_byte/group/low": 8.0,
        "eval/bits_per_byte/group/high": 1.0,
    }


def test_the_line_names_the_worst_language_and_what_failed() -> None:
    text = line(HISTORY[1], 2.5)
    assert text == (
        "Evaluation after 500 tokens: bits per byte 2.500 (worst Swahili 4.000), "
        "lexicon failed [2.5 s]"
    )
