"""Whether a command line is a recipe's, and running it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from marco.config import RunSettings, command_line_sources
from marco.config.checked import parse_flags
from marco.config.resume import resumed_folder
from marco.errors import ConfigError, MarcoError
from marco.training.recipe.process import STEP
from marco.training.recipe.request import recipe_name


def run_recipe(argv: Sequence[str], check: Callable[[RunSettings], None]) -> int | None:
    """Run the recipe that a command line names, or goes on with; None: it is of a single run.

    ``argv`` is ``sys.argv[1:]``. A MarcoError is printed, and the exit code is 2.
    """
    if STEP in os.environ or not any(text.startswith(("recipe", "resume=")) for text in argv):
        return None
    try:
        return _run(argv, check)
    except MarcoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(argv: Sequence[str], check: Callable[[RunSettings], None]) -> int | None:
    from marco.training.recipe.run import resume, start
    from marco.training.recipe.state import recipe_folder

    args = parse_flags(list(argv))
    overrides = list(args.overrides)
    if recipe_name(overrides) is None:
        place = resumed_folder(overrides, sources=command_line_sources(args))
        folder = None if place is None else recipe_folder(place)
        if folder is None:
            return None
        others = [text for text in overrides if not text.startswith(("resume=", "paths."))]
        if others:
            raise ConfigError(
                f"'{others[0]}': {folder} is a recipe's: its steps go on as they were begun."
            )
        return resume(folder)
    if args.multirun or args.cfg is not None or args.info is not None:
        raise ConfigError("recipe=… runs its steps one after the other: leave the flag away.")
    return start(overrides, command_line_sources(args), check)
