"""Write marco's own tasks that differ by language alone, as YAML in lm-eval's format.

``python -m marco.evaluation.suite.generate`` writes those that marco comes with (a test compares
them); ``… generate swh yor hau --to my_tasks --tag mine`` writes every direction of FLORES-200
among the languages named, for ``evaluation.include_path=my_tasks``.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path

from marco.errors import ConfigError
from marco.languages import MARCO_LANGUAGES, get

TASKS = Path(__file__).parent.parent / "tasks"

#: The languages of ``flores_any_to_any``. The paper has 42 directions and does not name them; these
#: seven, ours, have seven scripts, six families, and high and low resources.
ANY_TO_ANY = ("cmn", "arb", "spa", "jpn", "kaz", "npi", "tha")

#: XStoryCloze's subsets.
XSTORYCLOZE = ("ar", "en", "es", "eu", "hi", "id", "my", "ru", "sw", "te", "zh")

# FLORES-200's codes are the registry's with the script, except for:
_FLORES_CODES = {"cmn": "zho", "zlm": "zsm"}

_WITHOUT_SPACES = frozenset({"Jpan", "Khmr", "Laoo", "Mymr", "Thai", "Tibt"})


def own_files() -> dict[str, str]:
    """Return the text of every generated task that marco comes with, by its path in ``TASKS``."""
    others = [code for code in MARCO_LANGUAGES if code != "eng"]
    directions = [
        *((("eng", code), "marco_flores_from_eng") for code in others),
        *(((code, "eng"), "marco_flores_to_eng") for code in others),
        *((pair, "marco_flores_any_to_any") for pair in permutations(ANY_TO_ANY, 2)),
    ]
    files = {f"flores/{_stem(*pair)}.yaml": flores(*pair, tag=tag) for pair, tag in directions}
    for subset in XSTORYCLOZE:
        files[f"xstorycloze/{get(subset).code}.yaml"] = xstorycloze(subset)
    return files


def flores(source: str, target: str, tag: str, folder: str = "") -> str:
    """Return the YAML of one direction of FLORES-200.

    Args:
        source: a canonical code, or one with a script of its own (``ben_Latn``).
        target: another one.
        tag: lm-eval's tag of the task.
        folder: where the shared YAML is, if not beside this one; with a slash at its end.

    Raises:
        ConfigError: a language that the registry does not know.
    """
    (from_file, from_name), (to_file, to_name) = _of_flores(source), _of_flores(target)
    script = to_file.partition("_")[2]
    shared = "_flores_char" if script in _WITHOUT_SPACES else "_flores"
    if script in ("Hans", "Hant"):
        shared = "_flores_zh"
    files = "\n".join(
        f"    {split}: [{from_file}/{split}-00000-of-00001.parquet, "
        f"{to_file}/{split}-00000-of-00001.parquet]"
        for split in ("dev", "devtest")
    )
    prompt = json.dumps(f"{from_name} phrase: {{{{source}}}}\n{to_name} phrase:")
    return (
        f"include: {folder}{shared}\n"
        f"task: marco_flores_{_stem(source, target)}\n"
        f"tag: {tag}\n"
        f"dataset_kwargs:\n  data_files:\n{files}\n"
        f"doc_to_text: {prompt}\n"
        f"metadata: {{version: 1.0, source: {source}, target: {target}}}\n"
    )


def xstorycloze(subset: str) -> str:
    """Return the YAML of one subset of XStoryCloze."""
    code = get(subset).code
    return (
        "include: _xstorycloze\n"
        f"task: marco_xstorycloze_{code}\n"
        "dataset_kwargs:\n"
        "  revision: refs/convert/parquet\n"
        f"  data_files: {{train: {subset}/train/0000.parquet, eval: {subset}/eval/0000.parquet}}\n"
        f"metadata: {{version: 1.0, language: {code}}}\n"
    )


def _stem(source: str, target: str) -> str:
    return f"{source}_{target}"


def _code(word: str) -> str:
    base, _, script = word.partition("_")
    if len(script) != 4 or not script.isalpha():
        return get(word).code
    language = get(base)
    return language.code if script == language.script else f"{language.code}_{script}"


def _of_flores(word: str) -> tuple[str, str]:
    """Return FLORES's code of a language, and its name in a prompt."""
    base, _, script = word.partition("_")
    language = get(base)
    code = _FLORES_CODES.get(language.code, language.code)
    return f"{code}_{script or language.script}", language.name


def write(files: dict[str, str], folder: Path) -> None:
    """Write the files into ``folder``."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def users_files(languages: Iterable[str], tag: str, folder: Path) -> dict[str, str]:
    """Return every direction of FLORES-200 among ``languages``, to be written to ``folder``.

    They may be written in any way the registry knows, or as FLORES-200 does (``zho_Hant``).

    Raises:
        ConfigError: a language that the registry does not know.
    """
    codes = dict.fromkeys(map(_code, languages))
    # Relative, so that the two folders can move together.
    shared = Path(os.path.relpath(TASKS / "flores", folder.resolve())).as_posix() + "/"
    return {
        f"flores_{_stem(*pair)}.yaml": flores(*pair, tag=tag, folder=shared)
        for pair in permutations(codes, 2)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tasks, and say how many."""
    parser = argparse.ArgumentParser(prog="python -m marco.evaluation.suite.generate")
    parser.add_argument("languages", nargs="*", help="none: the tasks that marco comes with")
    parser.add_argument("--to", type=Path, default=Path("my_tasks"), help="folder of your tasks")
    parser.add_argument("--tag", default="my_flores", help="a name for all of them")
    given = parser.parse_args(arguments)
    folder = given.to if given.languages else TASKS
    try:
        if len(given.languages) == 1:
            raise ConfigError(f"{given.languages[0]}: name at least two languages.")
        files = users_files(given.languages, given.tag, folder) if given.languages else own_files()
    except ConfigError as error:
        parser.error(str(error))
    write(files, folder)
    print(f"{len(files)} tasks in {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
