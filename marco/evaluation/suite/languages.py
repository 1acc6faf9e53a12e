"""The language of every task, which lm-eval does not record.

A task of marco's or of a user's says it in its own YAML, ``metadata: {language: swh}``, or
``{source: eng, target: swh}`` of a translation. For lm-eval's, ``marco/assets/task_languages.tsv``
reads it off the name: the first row that matches counts, and one whose code the registry does not
know does not match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from marco.errors import ConfigError
from marco.languages import get

# How a language is written where the table says <…>: en, eng, eng_Latn; eng_latn; english.
_WRITTEN = {
    "language": r"[a-z]{2,3}(?:_[A-Z][a-z]{3})?",
    "source": r"[a-z]{2,3}(?:_[A-Z][a-z]{3})?",
    "target": r"[a-z]{2,3}(?:_[A-Z][a-z]{3})?",
    "language_script": r"[a-z]{3}_[a-z]{4}",
    "name": r"[a-z]+",
}

# Of these, the first that is said is the language that the results are filed under.
_ONE = ("language", "language_script", "name", "target", "source")


@dataclass(frozen=True)
class TaskLanguages:
    """The languages of a task, as canonical codes.

    Attributes:
        language: that of the text the model reads and answers in; of a translation, the target's.
            None where nothing says it.
        script: ISO 15924, of this task's text in that language: ``belebele_ben_Latn`` has Latn,
            though the registry expects Beng.
        source: of a translation, the language translated from; else None.
        target: of a translation, the language translated to; else None.
    """

    language: str | None = None
    script: str | None = None
    source: str | None = None
    target: str | None = None


def task_languages(leaf: str, config: Mapping[str, Any] | None = None) -> TaskLanguages:
    """Return the languages of one task.

    Args:
        leaf: its name.
        config: its YAML (``configs_of``), where that may say it.

    Raises:
        ConfigError: its YAML names a language that the registry does not know.
    """
    metadata = (config or {}).get("metadata")
    said = metadata if isinstance(metadata, Mapping) else {}
    words = {key: said[key] for key in ("language", "source", "target") if said.get(key)}
    if words:
        try:
            return _languages(words)
        except ConfigError as error:
            raise ConfigError(f"{leaf}: the metadata of its YAML: {error}") from error
    for pattern, fixed in _table():
        match = pattern.fullmatch(leaf)
        if match is not None:
            try:
                return _languages(fixed or match.groupdict())
            except ConfigError:
                continue
    return TaskLanguages()


def _languages(words: Mapping[str, str]) -> TaskLanguages:
    source = _code(words["source"])[0] if "source" in words else None
    target = _code(words["target"])[0] if "target" in words else None
    language, script = _code(next(words[key] for key in _ONE if key in words))
    return TaskLanguages(language, script, source, target)


def _code(word: str) -> tuple[str, str]:
    """Return the canonical code and the script, which may be another than the registry's."""
    base, _, script = word.partition("_")
    language = get(base if len(script) == 4 else word)
    return language.code, script.capitalize() if len(script) == 4 else language.script


@lru_cache(maxsize=1)
def _table() -> list[tuple[re.Pattern[str], Mapping[str, str]]]:
    """Return the rows: a pattern of names, and their languages where the row says them."""
    table = files("marco").joinpath("assets/task_languages.tsv").read_text(encoding="utf-8")
    rows: list[tuple[re.Pattern[str], Mapping[str, str]]] = []
    for line in table.splitlines()[1:]:
        task, fixed = line.split("\t")
        pattern = re.sub(r"<(\w+)>", lambda hole: f"(?P{hole[0]}{_WRITTEN[hole[1]]})", task)
        source, translates, target = fixed.partition(">")
        said = {"source": source, "target": target} if translates else {"language": fixed}
        rows.append((re.compile(pattern), {} if fixed == "-" else said))
    return rows
