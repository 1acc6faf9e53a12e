"""Answers in files, as FastChat writes them: made elsewhere, or kept to be compared with later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from marco.errors import ConfigError, DataError
from marco.evaluation.judge.questions import Question, first_of, read_lines
from marco.evaluation.results.files import replace_file
from marco.languages import get

#: The answers to one question, a text a turn.
Turns = tuple[str, ...]

FORMAT = (
    '{"question_id": 81, "language": "deu", "model_id": "…", "choices": [{"turns": ["…", "…"]}]}'
)


class _Choice(BaseModel):
    turns: list[str]


class _Line(BaseModel):
    question_id: int | str
    choices: list[_Choice] = Field(min_length=1)
    model_id: str | None = None
    language: str | None = None


def read_answers(
    path: Path, questions: Sequence[Question], key: str = "answers"
) -> tuple[str, list[Turns]]:
    """Return the model's name and its answer to each question, the first choice of several.

    A line without a language is of the question of its id, if only one language has that.

    Args:
        path: of a JSONL file; lines on other questions are passed over.
        questions: that must be answered, every turn.
        key: of the configuration, for messages.

    Raises:
        ConfigError: there is no such file.
        DataError: a line that is no answer, or a question without one.
    """
    name = ""
    found: dict[tuple[str, str], Turns] = {}
    for where, text in read_lines(path, key, FORMAT):
        try:
            line = _Line.model_validate_json(text)
            language = None if line.language is None else get(line.language).code
        except ValidationError as error:
            raise DataError(f"{where}: {first_of(error)}. A line should be {FORMAT}.") from None
        except ConfigError as error:
            raise DataError(f"{where}: {error}") from None
        identity = str(line.question_id)
        named = [q.language for q in questions if q.id == identity]
        if language is None and len(named) > 1:
            raise DataError(
                f"{where}: question {identity} is there in {', '.join(named)}: say which "
                '"language" the answer is to.'
            )
        name = name or line.model_id or ""
        for code in [language] if language is not None else named:
            found[code, identity] = tuple(line.choices[0].turns)
    return name or path.stem, [_answer(found, question, path) for question in questions]


def write_answers(
    path: Path, name: str, questions: Sequence[Question], answers: Sequence[Turns]
) -> None:
    """Write what `read_answers` reads, whole or not at all."""
    lines = [
        json.dumps(
            {
                "question_id": question.id,
                "language": question.language,
                "model_id": name,
                "choices": [{"index": 0, "turns": turns}],
            },
            ensure_ascii=False,
        )
        for question, turns in zip(questions, answers, strict=True)
    ]
    replace_file(path, lambda beside: beside.write_text("\n".join(lines) + "\n", encoding="utf-8"))


def _answer(found: dict[tuple[str, str], Turns], question: Question, path: Path) -> Turns:
    turns = found.get((question.language, question.id))
    if turns is None:
        raise DataError(f"{path} has no answer to question {question.id} of {question.language}.")
    if len(turns) < len(question.turns):
        raise DataError(
            f"{path} answers {len(turns)} of the {len(question.turns)} turns of question "
            f"{question.id} of {question.language}."
        )
    return turns[: len(question.turns)]
