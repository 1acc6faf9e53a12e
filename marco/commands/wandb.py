"""Save a view of a W&B project: a section for each metric, over tokens, and the heat map.

marco wandb RUN [key=value] …

  RUN              a run's folder: the view shows what its evaluations measured
  entity=NAME      the user or team; the run's logger.entity
  project=NAME     the run's logger.project
  name=marco       the view's name

Needs an API key, and pip install "marco-train[wandb]". The view is a new one each time: your own
workspace stays as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marco.errors import ConfigError, DataError, nearest

KEYS = ("entity", "project", "name")


def main(arguments: list[str]) -> int:
    """Save the view and print where it is."""
    parser = argparse.ArgumentParser(
        prog="marco wandb",
        usage="marco wandb RUN [key=value] ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help=argparse.SUPPRESS)
    parser.add_argument("option", nargs="*", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    folder = Path(parsed.run).expanduser()
    options = _parse(parsed.option)

    from marco.config import container, load_config
    from marco.evaluation.history import read_history
    from marco.evaluation.scalars import scalars

    logger = container(load_config(folder)).get("logger") or {}
    keys = dict.fromkeys(key for found in read_history(folder) for key in scalars(found))
    if not keys:
        raise DataError(f"{folder} has no evaluations, so there is nothing to make a view of.")
    print(f"View: {_save(options, logger, list(keys))}")
    return 0


def _save(options: Mapping[str, str], logger: Mapping[str, Any], keys: list[str]) -> str:
    from marco.tracking.wandb_mode import find_key

    if find_key() is None:
        raise ConfigError("W&B: no API key was found: `wandb login`, or set WANDB_API_KEY.")
    try:
        import wandb
        import wandb_workspaces  # noqa: F401  (what build_workspace needs)
    except ImportError as error:
        raise ConfigError(
            f'{error.name} is not installed: pip install "marco-train[wandb]"'
        ) from error

    from marco.tracking.wandb_workspace import build_workspace

    project = options.get("project") or logger.get("project")
    if not project:
        raise ConfigError("The run was logged without W&B: name the project with project=….")
    try:
        entity = options.get("entity") or logger.get("entity") or wandb.Api().default_entity
        view = build_workspace(str(entity), str(project), options.get("name", "marco"), keys)
        return str(view.save().url)
    # the package raises its own errors, those of the network, and those of what the server says
    except Exception as error:
        raise DataError(f"W&B did not take the view: {type(error).__name__}: {error}") from error


def _parse(arguments: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in KEYS:
            raise ConfigError(f"{argument}: `marco wandb` has no such key.{nearest(key, KEYS)}")
        options[key] = value
    return options
