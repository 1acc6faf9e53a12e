"""The main job: compose → check → build → fit → final evaluation → summary.

python train.py [group=option] [key=value] …        python train.py --help
"""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While packages load and the command line is checked nothing is lost: Ctrl-C ends it quietly.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import json
import logging
import os
import sys
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from marco.config import (
    CHANGEABLE,
    bind_all,
    check_command_line,
    command_line_sources,
    conf_dir,
    load_config,
    load_resumed,
    redact_file,
    save_config,
)
from marco.errors import MarcoError
from marco.training.checks import check_run
from marco.training.recipe.command_line import run_recipe
from marco.training.waiting import wait_briefly

log = logging.getLogger("marco")

FAILED: list[Path] = []
SWEEP: list[Path] = []


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def job(cfg: DictConfig) -> float | None:
    """One run, in its folder; returns the macro bits per byte at its end, for sweepers."""
    from marco.training.folder import open_folder
    from marco.training.launch import launch

    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir).absolute()
    overrides = list(hydra_config.overrides.task)
    try:
        if hydra_config.mode == RunMode.MULTIRUN:
            SWEEP[:] = [Path(hydra_config.sweep.dir)]
            redact_file(SWEEP[0] / "multirun.yaml")
        if cfg.resume is not None:
            args = get_args_parser().parse_args()
            cfg = load_resumed(args.overrides, sources=command_line_sources(args)).cfg
        save_config(cfg, overrides, folder, changeable=CHANGEABLE)
        open_folder(folder, Path(cfg.paths.runs))
        devices = int(cfg.trainer.devices)
        code = work(folder) if devices == 1 else launch(work, folder, devices)
    except MarcoError as error:
        log.error("error: %s", error)
        code = 1
    except KeyboardInterrupt as interrupt:
        log.error("Interrupted before training began.")
        code = 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    if code == 1 and hydra_config.mode == RunMode.MULTIRUN:
        FAILED.append(folder)  # a failed run does not end a sweep; an interrupted one does
    elif code:
        raise SystemExit(code)
    return _result(folder)


def work(folder: Path) -> int:
    """What every process of a run does; returns its exit code, or raises MarcoError."""
    from marco.training.fit import fit

    return fit(bind_all(load_config(folder)), folder)


def _result(folder: Path) -> float | None:
    path = folder / "summary.json"
    if not path.is_file():
        return None
    value: float | None = json.loads(path.read_text())["macro"]["bits_per_byte"]["after"]
    return value


def _from_interrupt(error: BaseException) -> bool:
    """Hydra reports some errors that a Ctrl-C led to as its own, and exits with 1."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause is not None


def main() -> None:
    """Check the whole command line, then hand it to Hydra."""
    if "LOCAL_RANK" in os.environ:
        sys.exit("error: start train.py itself, not under torchrun: it starts trainer.devices.")
    wait_briefly()
    recipe = run_recipe(sys.argv[1:], check_run)
    if recipe is not None:
        sys.exit(recipe)
    try:
        sys.argv[1:] = check_command_line(sys.argv[1:], check_run)
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        job()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except SystemExit as ended:
        if _from_interrupt(ended):
            sys.exit(128 + signal.SIGINT)
        raise
    if SWEEP:
        from marco.evaluation.ranking.report import report_sweep

        report_sweep(SWEEP[0])
    if FAILED:
        names = ", ".join(folder.name for folder in FAILED)
        sys.exit(f"error: of the sweep's runs these failed: {names} (their log.txt says why)")


if __name__ == "__main__":
    main()
