"""Write the embedded tasks' YAML files, one a language or direction.

``python -m marco.evaluation.tasks.embedded.write`` writes those that marco comes with (a test
compares them): every language that has a CLDR locale for itself, and from and into English.
``… write translate_swh_yor lexicon_swh_yor --to my_tasks`` writes any others, for
``evaluation.include_path=my_tasks`` or ``lm_eval --include_path my_tasks``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from marco.errors import ConfigError, nearest
from marco.evaluation.suite.generate import write
from marco.evaluation.tasks.embedded.declarations import (
    HELD_OUT,
    RULER,
    aligned,
    paragraphs,
)
from marco.languages import all_languages, get

HERE = Path(__file__).parent

#: Tasks in one language, and from one into another.
ONE, TWO = ("cloze", "lid"), ("lexicon", "translate")


def everything() -> Iterator[str]:
    """Yield what marco comes with: `cloze_swh`, `lexicon_eng_swh`, `lexicon_swh_eng`, …"""
    for language in all_languages():
        if language.cldr is None:
            continue
        code = language.code
        if language.udhr is not None and paragraphs(code, HELD_OUT):
            yield from (f"{family}_{code}" for family in ONE)
        if code == RULER:
            continue
        if language.udhr is not None and aligned(code, HELD_OUT):
            yield from (f"translate_{RULER}_{code}", f"translate_{code}_{RULER}")
        yield from (f"lexicon_{RULER}_{code}", f"lexicon_{code}_{RULER}")


def own_files() -> dict[str, str]:
    """Return the text of every task that marco comes with, by its path beside this file."""
    return {f"generated/{path}": text for path, text in _files(everything(), "../..").items()}


def users_files(tasks: Iterable[str], folder: Path) -> dict[str, str]:
    """Return the text of other tasks, to be written to ``folder``.

    Raises:
        ConfigError: no such task, language, or number of languages.
    """
    # Relative, so that the two folders can move together.
    beside = Path(os.path.relpath(HERE, folder.resolve())).as_posix()
    return _files(map(_checked, tasks), f"../{beside}")


def _files(tasks: Iterable[str], shared: str) -> dict[str, str]:
    found = {}
    for task in tasks:
        family, *codes = task.split("_")
        said = "language: {}" if family in ONE else "source: {}, target: {}"
        found[f"{family}/{'_'.join(codes)}.yaml"] = (
            f"include: {shared}/_{family}\n"
            f"task: marco_embedded_{task}\n"
            f"metadata: {{version: 1.0, {said.format(*codes)}}}\n"
        )
    return found


def _checked(task: str) -> str:
    """Return a task with its languages canonical."""
    family, *codes = task.removeprefix("marco_embedded_").split("_")
    if family not in ONE + TWO:
        raise ConfigError(
            f"{task}: there is no task '{family}'.{nearest(family, ONE + TWO)} "
            "Write translate_swh_yor, lexicon_swh_yor, lid_swh or cloze_swh."
        )
    if len(codes) != (1 if family in ONE else 2):
        needed = "one language" if family in ONE else "two languages, from and into"
        raise ConfigError(f"{task}: {family} takes {needed}.")
    return "_".join([family, *(get(code).code for code in codes)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tasks, and say how many."""
    parser = argparse.ArgumentParser(prog="python -m marco.evaluation.tasks.embedded.write")
    parser.add_argument("tasks", nargs="*", help="none: those that marco comes with")
    parser.add_argument("--to", type=Path, default=Path("my_tasks"), help="folder of your tasks")
    given = parser.parse_args(arguments)
    folder = given.to if given.tasks else HERE
    try:
        files = users_files(given.tasks, folder) if given.tasks else own_files()
    except ConfigError as error:
        parser.error(str(error))
    write(files, folder)
    print(f"{len(files)} tasks in {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
