"""Compare runs: what differs, and what of it is more than luck in which languages.

marco compare RUN RUN … [key=value] …
marco compare --sweep FOLDER … [key=value] …

  RUN                  a run's folder, an evaluation's folder (of marco evaluate, or a run's
                       evaluations/step-…), lm-eval's results_….json or samples_….jsonl,
                       or, where W&B is online, a run there: entity/project/id
  RUN,RUN,RUN          runs of one setting, one for each seed; runs whose configs differ by the
                       seed alone are put together without being told

  correction=holm      over the languages of a task: holm, or bh (Benjamini–Hochberg)
  level=0.05           from which corrected p-value down a difference is a finding
  step=last            which evaluation of a run
  seeds=together       or apart: every run for itself
  show=findings        languages that differ by more than luck, or all
  output=comparisons   <output>/<time> has the page and the tables as CSV

All are compared with the first. The same items are paired, and runs that were not measured on the
same items are not paired: which, is said, and the exit code is 1.

With --sweep the settings of the runs below a folder are ranked (of `python train.py -m`, or any
folder of runs), each by its mean over seeds:

  metric=bits_per_byte   what to rank by; task=… where several tasks have it
  language=all           or a few of them: swh,yor
  level=0.05  step=last  as above
  output=…               <output>/<time> has sweep.html and sweep.csv; else the sweep's folder
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from marco.evaluation.compare.run import Group, Run

DEFAULTS = {
    "correction": "holm",
    "level": "0.05",
    "step": "last",
    "seeds": "together",
    "show": "findings",
    "output": "comparisons",
}
CHOICES = {
    "correction": ("holm", "bh"),
    "seeds": ("together", "apart"),
    "show": ("findings", "all"),
}


def main(arguments: list[str]) -> int:
    """Compare the runs named in ``arguments``; 1 where some items could not be paired."""
    parser = argparse.ArgumentParser(
        prog="marco compare",
        usage="marco compare RUN RUN ... [key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sweep", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    if any(each == "--sweep" or each.removeprefix("--").startswith("sweep=") for each in arguments):
        from marco.commands._ranking import rank

        return rank(arguments)
    paths, options = _parse(parser.parse_args(arguments).arguments)
    level = parse_level(options["level"])
    step = parse_step(options["step"])

    from marco.evaluation.compare.files import write_csv
    from marco.evaluation.compare.page import write_page
    from marco.evaluation.compare.report import build_report
    from marco.evaluation.compare.tables import tables
    from marco.tracking.console import console

    groups = _groups(paths, step, options["seeds"] == "apart")
    report = build_report(groups, options["correction"], level)
    for part in tables(report, everything=options["show"] == "all"):
        console().print(part)
    folder = output_folder(options["output"])
    try:
        folder.mkdir(parents=True)
        write_csv(folder, report)
        page = write_page(folder, report)
    except OSError as error:
        raise ConfigError(f"output={options['output']} cannot be written to: {error}") from error
    console().print(f"Page, and all tables as CSV beside it: {page}", soft_wrap=True)
    return 1 if any(comparison.mismatches for comparison in report.comparisons) else 0


def _groups(paths: Sequence[Sequence[Path]], step: int | None, apart: bool) -> list[Group]:
    """Runs that were named together are a group; the others are sorted by their configs."""
    from marco.evaluation.compare.configs import by_seed
    from marco.evaluation.compare.names import with_common_names
    from marco.evaluation.compare.run import Group

    found: list[Group] = []
    alone: list[Run] = []
    every = iter(with_common_names([_read(path, step) for together in paths for path in together]))
    for together in paths:
        runs = [next(every) for _ in together]
        if len(runs) > 1 or apart:
            found += [*by_seed(alone), Group(runs[0].name, runs)]
            alone = []
        else:
            alone += runs
    return [*found, *by_seed(alone)]


def _read(path: Path, step: int | None) -> Run:
    from marco.evaluation.compare.read import read
    from marco.evaluation.compare.wandb_run import is_wandb, read_wandb
    from marco.tracking.wandb_mode import resolve_mode

    here = path.exists() or Path(path.parts[0]).exists()
    if not here and is_wandb(str(path)) and resolve_mode("auto")[0] == "online":
        return read_wandb(str(path))
    return read(path, step)


def _parse(arguments: Sequence[str]) -> tuple[list[list[Path]], dict[str, str]]:
    options = dict(DEFAULTS)
    paths: list[list[Path]] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        whole = Path(argument).expanduser()
        if equals and not whole.exists():
            if key not in DEFAULTS:
                raise ConfigError(
                    f"{argument}: `marco compare` has no such key.{nearest(key, DEFAULTS)}"
                )
            options[key] = value
        elif whole.exists():
            paths.append([whole])
        else:
            paths.append([Path(part).expanduser() for part in argument.split(",") if part])
    for key, allowed in CHOICES.items():
        if options[key] not in allowed:
            guess = nearest(options[key], allowed)
            raise ConfigError(f"{key}={options[key]}: {' or '.join(allowed)}.{guess}")
    every = [path.resolve() for together in paths for path in together]
    if len(every) < 2:
        raise ConfigError("marco compare needs two runs or more: marco compare RUN RUN.")
    for path in every:
        if every.count(path) > 1:
            raise ConfigError(f"{path} is named twice: a run does not differ from itself.")
    return paths, options


def output_folder(output: str) -> Path:
    """Return ``<output>/<time>``."""
    from datetime import datetime

    return Path(output).expanduser() / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"


def parse_level(value: str) -> float:
    """Return a level from the command line. Raises ConfigError unless it is between 0 and 1."""
    try:
        level = float(value)
    except ValueError:
        level = 0.0
    if not 0 < level < 1:
        raise ConfigError(f"level={value} should be between 0 and 1.")
    return level


def parse_step(value: str) -> int | None:
    """Return a step from the command line, None of ``last``. Raises ConfigError."""
    if value == "last":
        return None
    if not value.isdecimal():
        raise ConfigError(f"step={value} should be a step of the run's evaluations, or last.")
    return int(value)
