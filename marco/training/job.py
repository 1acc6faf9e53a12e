"""One run in its folder, on however many processes it has."""

from __future__ import annotations

import json
import logging
import signal
from pathlib import Path

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from marco.config import (
    CHANGEABLE,
    bind_all,
    command_line_sources,
    load_config,
    load_resumed,
    save_config,
)
from marco.errors import MarcoError

log = logging.getLogger("marco")


def run(cfg: DictConfig, overrides: list[str], folder: Path) -> int:
    """Write the config into the folder and train there; returns the exit code.

    Raises:
        MarcoError: a run that cannot start or go on. KeyboardInterrupt: before training began.
    """
    from marco.training.folder import open_folder
    from marco.training.launch import launch

    save_config(cfg, overrides, folder, changeable=CHANGEABLE)
    open_folder(folder, Path(cfg.paths.runs))
    devices = int(cfg.trainer.devices)
    return work(folder) if devices == 1 else launch(work, folder, devices)


def run_alone(cfg: DictConfig, overrides: list[str], folder: Path) -> int:
    """As `run`, for a command line with nothing else to do: resumes, and says errors."""
    try:
        if cfg.resume is not None:
            args = get_args_parser().parse_args()
            cfg = load_resumed(args.overrides, sources=command_line_sources(args)).cfg
        return run(cfg, overrides, folder)
    except MarcoError as error:
        log.error("error: %s", error)
        return 1
    except KeyboardInterrupt as interrupt:
        return before_training(interrupt)


def before_training(interrupt: KeyboardInterrupt) -> int:
    """Say that nothing was lost; returns the exit code."""
    log.error("Interrupted before training began.")
    return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def work(folder: Path) -> int:
    """What every process of a run does; returns its exit code, or raises MarcoError."""
    from marco.training.fit import fit

    return fit(bind_all(load_config(folder)), folder)


def bits_per_byte(folder: Path) -> float | None:
    """The macro bits per byte at a run's end, once it has one."""
    path = folder / "summary.json"
    if not path.is_file():
        return None
    value: float | None = json.loads(path.read_text())["macro"]["bits_per_byte"]["after"]
    return value
