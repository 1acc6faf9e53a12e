"""The questions of MT-bench, in FastChat's format and with a language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from marco.errors import ConfigError, DataError, nearest
from marco.evaluation.items import content_id
from marco.languages import canonical, get

#: A line of a file of questions.
FORMAT = (
    '{"question_id": 81, "category": "writing", "language": "deu", "turns": ["…", "…"]}, and where '
    'there are right answers "reference": ["…", "…"]'
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a user says, turn by turn.

    Attributes:
        id: as in the file; languages may share it.
        language: canonical code.
        category: MT-bench's (writing, math, …), or any other; it decides the temperature.
        turns: at least one.
        references: the right answer of each turn, as far as there is one; "" where there is none.
    """

    id: str
    language: str
    category: str
    turns: tuple[str, ...]
    references: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """A name of its content, the same in every run."""
        return content_id(self.language, self.turns)

    def reference(self, turn: int) -> str:
        """Return the right answer of a turn, counted from 0; "" if there is none."""
        return self.references[turn] if turn < len(self.references) else ""


class _Line(BaseModel):
    """Keys beyond these are FastChat's business."""

    question_id: int | str
    language: str
    turns: list[str] = Field(min_length=1)
    category: str = ""
    reference: list[str | None] | None = None


def read_questions(
    path: Path, languages: Sequence[str] | None = None, per_language: int | None = None
) -> list[Question]:
    """Read a JSONL file of questions, in its order.

    Args:
        path: of the file.
        languages: only these, by any name; None: all.
        per_language: the first so many of each; None: all.

    Raises:
        ConfigError: there is no such file, or it has none of a language.
        DataError: a line that is no question, or one that is there twice.
    """
    found: dict[tuple[str, str], Question] = {}
    for where, text in read_lines(path, "questions", FORMAT):
        try:
            line = _Line.model_validate_json(text)
            language = get(line.language).code
        except ValidationError as error:
            raise DataError(f"{where}: {first_of(error)}. A line should be {FORMAT}.") from None
        except ConfigError as error:
            raise DataError(f"{where}: {error}") from None
        question = Question(
            str(line.question_id),
            language,
            line.category,
            tuple(line.turns),
            tuple(each or "" for each in line.reference or ()),
        )
        if (language, question.id) in found:
            raise DataError(f"{where}: question {question.id} of {language} is there twice.")
        found[language, question.id] = question
    chosen = _of_languages(list(found.values()), languages, path)
    count: dict[str, int] = {}
    kept = []
    for question in chosen:
        count[question.language] = count.get(question.language, 0) + 1
        if per_language is None or count[question.language] <= per_language:
            kept.append(question)
    return kept


def read_lines(path: Path, key: str, line: str) -> list[tuple[str, str]]:
    """Return (where it stands, text) of every line that is not empty.

    Args:
        path: of the file.
        key: of the configuration, for messages.
        line: what a line should be, for messages.

    Raises:
        ConfigError: there is no such file, or nothing in it.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{key}={path} cannot be read: {why}. It should be a JSONL file of yours, each line "
            f"{line}."
        ) from error
    lines = [
        (f"{path}, line {number}", line)
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]
    if not lines:
        raise ConfigError(f"{key}={path} is empty. Each line should be {line}.")
    return lines


def first_of(error: ValidationError) -> str:
    """Return the first thing that is wrong with a line."""
    wrong = error.errors(include_url=False)[0]
    place = ".".join(map(str, wrong["loc"]))
    return f"{place}: {wrong['msg']}" if place else wrong["msg"]


def _of_languages(
    questions: list[Question], languages: Sequence[str] | None, path: Path
) -> list[Question]:
    if languages is None:
        return questions
    there = sorted({question.language for question in questions})
    wanted = canonical(languages)
    for code in wanted:
        if code not in there:
            raise ConfigError(
                f"languages: {path} has no question in {code}.{nearest(code, there)} It has "
                f"{', '.join(there)}."
            )
    return [question for question in questions if question.language in wanted]
