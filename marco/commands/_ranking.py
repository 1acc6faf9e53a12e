"""`marco compare --sweep`: the settings of a sweep, from the best to the worst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from marco.commands.compare import output_folder, parse_level, parse_step
from marco.errors import ConfigError, nearest

DEFAULTS = {
    "metric": "",
    "task": "",
    "language": "all",
    "level": "0.05",
    "step": "last",
    "output": "",
}
_OUTPUT = "comparisons"


def rank(arguments: Sequence[str]) -> int:
    """Rank the runs below the folders of a command line: ``--sweep A B``, ``sweep=A,B``."""
    folders, options = _parse(arguments)
    level, step = parse_level(options["level"]), parse_step(options["step"])

    from marco.evaluation.ranking.files import write_ranking
    from marco.evaluation.ranking.report import build_ranking
    from marco.evaluation.ranking.runs import is_sweep
    from marco.evaluation.ranking.show import show
    from marco.tracking.console import console

    ranking = build_ranking(
        folders,
        metric=options["metric"] or None,
        task=options["task"] or None,
        languages=_languages(options["language"]),
        step=step,
        level=level,
    )
    show(ranking)
    within = not options["output"] and len(folders) == 1 and is_sweep(folders[0])
    folder = folders[0] if within else output_folder(options["output"] or _OUTPUT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page = write_ranking(folder, ranking)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written to: {error}; give output=…") from error
    console().print(f"The ranking as a page, and as CSV beside it: {page}", soft_wrap=True)
    return 0


def _parse(arguments: Sequence[str]) -> tuple[list[Path], dict[str, str]]:
    options = dict(DEFAULTS)
    folders: list[Path] = []
    for argument in arguments:
        key, equals, value = argument.removeprefix("--").partition("=")
        if argument == "--sweep" or (key == "sweep" and equals):
            folders += _folders(value)
        elif argument.startswith("-"):
            raise ConfigError(f"{argument}: `marco compare --sweep` has no such option.")
        elif equals and not Path(argument).expanduser().exists():
            if key not in DEFAULTS:
                raise ConfigError(
                    f"{argument}: `marco compare --sweep` has no such key.{nearest(key, DEFAULTS)}"
                )
            options[key] = value
        else:
            folders += _folders(argument)
    if not folders:
        raise ConfigError("marco compare --sweep needs a folder: that of a sweep, or one of runs.")
    return folders, options


def _folders(words: str) -> list[Path]:
    whole = Path(words).expanduser()
    if words and whole.exists():
        return [whole]
    return [Path(word).expanduser() for word in words.split(",") if word]


def _languages(words: str) -> list[str]:
    if words == "all":
        return []
    return [word.strip() for word in words.strip("[]").split(",") if word.strip()]
