"""What a model is given to go on with: a prompt, a file of prompts, or a language."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from marco.data.udhr import Udhr
from marco.errors import DataError
from marco.languages import get

#: Of a held-out article, the part that is given; the rest is what was written.
GIVEN = 0.5


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text to go on with; of a known language, and how it does go on, where that is known."""

    text: str
    language: str | None = None
    reference: str | None = None


def of_languages(codes: Sequence[str]) -> list[Prompt]:
    """Return the beginnings of each language's held-out articles of the declaration.

    Raises:
        DataError: a language without a declaration.
    """
    for code in codes:
        if get(code).udhr is None:
            raise DataError(
                f"language={code}: there is no declaration in {get(code).name} to take prompts "
                "from: give prompt=… or file=…"
            )
    held_out = Udhr(languages=list(codes)).load().held_out
    return [beginning(document.text, code) for code in codes for document in held_out[code]]


def beginning(text: str, code: str) -> Prompt:
    """Return a text cut near its middle, at a space where there is one near, as a prompt."""
    middle = round(len(text) * GIVEN)
    space = text.find(" ", middle)
    cut = space if 0 <= space < middle + 20 else middle
    return Prompt(text[:cut], code, text[cut:])


def of_file(path: Path, language: str | None = None) -> list[Prompt]:
    """Return the prompts of a file, of ``language`` where the file says nothing else.

    Raises:
        DataError: a line that holds no prompt, or a file without any.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"file={path} cannot be read: {error}") from error
    found = list(_prompts(path, lines, language))
    if not found:
        raise DataError(f"file={path} holds no prompt.")
    return found


def _prompts(path: Path, lines: Sequence[str], language: str | None) -> Iterator[Prompt]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if path.suffix != ".jsonl":
            yield Prompt(line, language)
            continue
        try:
            fields = json.loads(line)
            text = fields["prompt"]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f'{path}, line {number}: should be {{"prompt": "…"}}') from error
        if not isinstance(text, str) or not text:
            raise DataError(f"{path}, line {number}: the prompt should be a text.")
        code = fields.get("language")
        yield Prompt(text, language if code is None else get(str(code)).code)
