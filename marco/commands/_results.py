"""Where `marco evaluate` and `marco judge` put what they find: a folder, and the loggers."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from marco.config import redact
from marco.errors import ConfigError
from marco.tracking.wandb_settings import Wandb

log = logging.getLogger(__name__)


def place_of(output: str, name: str, checkpoint: str | None) -> Path:
    """Return the folder of all that is found of a model: its name is no way out of ``output``."""
    parts = [*name.split("/"), *([checkpoint] if checkpoint else [])]
    safe = [re.sub(r"[^\w.+-]", "_", part).lstrip(".") or "model" for part in parts]
    return Path(output).expanduser().joinpath(*safe)


def open_results(place: Path, what: str, output: str, config: Mapping[str, Any]) -> Path:
    """Make ``<place>/<what>/<time>`` with the config and the log. Raises ConfigError."""
    from marco.training.log import set_up_logging

    folder = place / what / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    try:
        folder.mkdir(parents=True)
        set_up_logging(folder, 0)
        redact.write(redact.to_yaml(config), folder / "config.yaml")
    except OSError as error:
        raise ConfigError(f"output={output} cannot be written to: {error}") from error
    return folder


@contextlib.contextmanager
def loggers_of(
    logger: Any, folder: Path, config: Mapping[str, Any], *, job_type: str, title: str,
    experiment: str | None,
) -> Iterator[list[Any]]:  # fmt: skip
    """The loggers of the config, finished whatever happens.

    Args:
        logger: the config's; None: there are none.
        folder: of the results.
        config: without secrets.
        job_type: W&B's.
        title: the W&B run's name, where the config has none.
        experiment: whose W&B group it stands in; None: the config's.
    """
    if isinstance(logger, Wandb):
        group, name = experiment or logger.group, logger.name or title
        logger = dataclasses.replace(logger, job_type=job_type, group=group, name=name)
    loggers: list[Any] = [] if logger is None else logger.build(folder, config=config)
    status = "failed"
    try:
        for each in loggers:
            if hasattr(each, "describe"):
                log.info("%s", each.describe())
        yield loggers
        status = "success"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        for each in loggers:
            if hasattr(each, "finish"):
                each.finish(status)
