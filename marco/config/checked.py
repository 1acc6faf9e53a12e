"""Check a command line before Hydra sees it: nothing is created for a run that cannot start."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser

from marco.config import diagnose
from marco.config.branch import with_parents
from marco.config.compose import Sources, compose
from marco.config.earlier import earlier
from marco.config.relaunch import relaunch, sweep_folder
from marco.config.resume import load_resumed, resume_value, runs_folder
from marco.config.run import RunSettings, bind_all
from marco.config.sweep import SWEEP_DIR, is_multirun, plan_sweep
from marco.errors import ConfigError, MarcoError

Check = Callable[[RunSettings], None]
"""The checks across groups; raises MarcoError for a combination that cannot work."""


def check_command_line(argv: Sequence[str], check: Check) -> list[str]:
    """Return the command line for Hydra, once the run, or every point of the sweep, is in order.

    ``argv`` is ``sys.argv[1:]``. Each config is composed, bound and given to ``check``. With
    ``--help``, ``--cfg`` and ``--info`` it is only composed, so nothing heavy is imported; shell
    completion goes through untouched. With ``resume=…`` the saved config is what is checked, and
    the returned command line makes Hydra use the run's own folder; where it names a sweep, it is
    that sweep's own command line again. That of any sweep ends with its folder. A MarcoError is
    printed as ``error: …`` and ends the process with exit code 2.
    """
    try:
        return _checked(list(argv), check)
    except MarcoError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def command_line_sources(args: argparse.Namespace) -> Sources:
    """Return the places that Hydra's flags name; ``--config-path`` is relative to train.py."""
    tree = args.config_path
    if tree is not None and "://" not in tree and not Path(tree).is_absolute():
        tree = str(Path(__file__).resolve().parents[2] / tree)
    if tree is not None and "://" not in tree and not Path(tree).is_dir():
        raise ConfigError(f"--config-path: there is no folder '{tree}'.")
    extra = Path(args.config_dir) if args.config_dir is not None else None
    return Sources(tree=tree, extra=extra, name=args.config_name or "train")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _, late, words = message.partition("unrecognized arguments: ")
        hint = " Put flags before the overrides." if late and not words.startswith("-") else ""
        raise ConfigError(f"{message}.{hint} `--help` shows the flags.")


def _checked(argv: list[str], check: Check) -> list[str]:
    args = parse_flags(argv)
    if args.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun: use resume=<run folder> instead.")
    if args.shell_completion or args.hydra_help:
        return argv
    if args.resolve and args.cfg is None and not args.help:
        raise ConfigError("--resolve goes with --cfg or --help.")
    sources = command_line_sources(args)
    overrides: list[str] = list(args.overrides)
    if args.help or args.cfg is not None or args.info is not None:
        compose(overrides, sources=sources, complete=False)
        return argv
    if args.run and args.multirun:
        raise ConfigError("--run and --multirun exclude each other.")
    again = _sweep_to_resume(overrides, sources)
    if again is not None:
        overrides = relaunch(again, overrides)
        argv = [*_flags(args), "-m", *overrides]
    multirun = again is not None or args.multirun or is_multirun(overrides, sources=sources)
    if again is None and resume_value(overrides) is not None:
        if multirun:
            raise ConfigError("resume continues one run: leave -m away.")
        resumed = load_resumed(overrides, sources=sources)
        check(bind_all(resumed.cfg))
        place = [f"resume={quoted(resumed.folder)}", f"hydra.run.dir={quoted(resumed.folder)}"]
        given = set(overrides)
        kept = [text for text in argv if text not in given or not text.startswith("resume=")]
        return [*kept, *place]
    whole = with_parents(overrides)
    if whole != overrides:
        argv = [text for text in argv if text not in overrides] + whole
        overrides = whole
    if not multirun:
        check(bind_all(compose(overrides, sources=sources)))
        return argv
    return [*argv, f"{SWEEP_DIR}{quoted(_check_sweep(overrides, sources, check))}"]


def _sweep_to_resume(overrides: list[str], sources: Sources) -> Path | None:
    if resume_value(overrides) is None:
        return None
    parsed = diagnose.parse(overrides, OverridesParser.create())
    return sweep_folder(overrides, runs_folder(parsed, sources))


def _flags(args: argparse.Namespace) -> list[str]:
    given = {name: getattr(args, name) for name in ("config_path", "config_name", "config_dir")}
    return [
        text
        for name, value in given.items()
        if value is not None
        for text in (f"--{name.replace('_', '-')}", value)
    ]


def _check_sweep(overrides: list[str], sources: Sources, check: Check) -> Path:
    """Check every point; returns the sweep's folder, absolute."""
    sweep = plan_sweep(overrides, sources=sources)
    for number, point in enumerate(sweep.points, start=1):
        try:
            cfg = compose(point, sources=sources)
            check(bind_all(cfg))
            if sweep.numbered:
                earlier(sweep.folder / str(number - 1), cfg)
        except MarcoError as error:
            if len(sweep.points) == 1:
                raise
            shown = " ".join(text for text in point if not text.startswith("hydra"))
            place = f"in run {number} of {len(sweep.points)} ({shown})"
            raise ConfigError(f"{place}: {error}") from error
    return sweep.folder


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Parse a command line as Hydra does; ConfigError where argparse would print its usage."""
    parser = _Parser(add_help=False, parents=[get_args_parser()])
    return parser.parse_args(argv)


def quoted(folder: Path) -> str:
    """Return a path as an override's value, whatever characters are in it."""
    text = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
