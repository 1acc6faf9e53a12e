from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from marco.errors import ConfigError, DataError, MarcoError
from marco.evaluation.judge.answer_files import read_answers, write_answers
from marco.evaluation.judge.questions import Question, read_questions

GOOD = {"question_id": 81, "category": "math", "language": "de", "turns": ["Wie viel?", "Warum?"]}


def written(path: Path, *lines: Any) -> Path:
    path.write_text(
        "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    )
    return path


def test_fastchats_lines_with_a_language(tmp_path: Path) -> None:
    more = {**GOOD, "language": "Swahili", "reference": ["7", None], "split": "x"}
    found = read_questions(written(tmp_path / "q.jsonl", GOOD, "", more))
    assert found == [
        Question("81", "deu", "math", ("Wie viel?", "Warum?")),
        Question("81", "swh", "math", ("Wie viel?", "Warum?"), ("7", "")),
    ]
    assert [found[1].reference(turn) for turn in range(3)] == ["7", "", ""]
    assert found[0].content != found[1].content


def test_a_choice_of_languages_and_a_number_of_each(questions_file: Path) -> None:
    found = read_questions(questions_file, ["sw"], 2)
    assert [(q.language, q.id) for q in found] == [("swh", "0"), ("swh", "1")]
    assert len(read_questions(questions_file)) == 12


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({**GOOD, "turns": []}, "line 1: turns: List should have at least 1 item"),
        ({k: v for k, v in GOOD.items() if k != "language"}, "language: Field required. A line"),
        ({**GOOD, "language": "Swahilli"}, "line 1: Unknown language 'Swahilli'. Did you mean"),
        ("{", "line 1: Invalid JSON"),
    ],
)
def test_a_line_that_is_no_question(tmp_path: Path, line: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_questions(written(tmp_path / "q.jsonl", line))
    assert message in str(caught.value)


def test_no_file_says_the_format(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'No such file.*"question_id": 81.*"language"'):
        read_questions(tmp_path / "nowhere.jsonl")
    with pytest.raises(ConfigError, match="is empty"):
        read_questions(written(tmp_path / "q.jsonl", ""))
    with pytest.raises(DataError, match="question 81 of deu is there twice"):
        read_questions(written(tmp_path / "q.jsonl", GOOD, GOOD))
    with pytest.raises(ConfigError, match=r"no question in yor.* It has deu"):
        read_questions(written(tmp_path / "q.jsonl", GOOD), ["yor"])


def test_answers_are_read_as_they_are_written(tmp_path: Path, questions: list[Question]) -> None:
    answers = [(f"{q.language}{q.id}", "ndiyo \u2028 \U0001f600\n") for q in questions]
    path = tmp_path / "a.jsonl"
    write_answers(path, "chat", questions, answers)
    assert read_answers(path, questions) == ("chat", answers)
    assert read_answers(path, questions[3:5]) == ("chat", answers[3:5])


def test_answers_of_fastchat_have_no_language(tmp_path: Path) -> None:
    line = {"question_id": 0, "model_id": "m", "choices": [{"index": 0, "turns": ["a", "b", "c"]}]}
    path = written(tmp_path / "gpt.jsonl", line)
    one = [Question("0", "eng", "", ("?", "?"))]
    assert read_answers(path, one) == ("m", [("a", "b")])
    del line["model_id"]
    assert read_answers(written(path, line), one)[0] == "gpt"
    for questions, message in (
        ([*one, Question("0", "swh", "", ("?",))], "is there in eng, swh: say which"),
        ([Question("1", "eng", "", ("?",))], "no answer to question 1 of eng"),
        ([Question("0", "eng", "", ("?",) * 4)], "answers 3 of the 4 turns of question 0"),
    ):
        with pytest.raises(MarcoError, match=message):
            read_answers(path, questions)
