"""The main job: compose → check → build → fit → final evaluation → summary.

python train.py [group=option] [key=value] …        python train.py --help
"""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While packages load and the command line is checked nothing is lost: Ctrl-C ends it quietly.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from marco.config import check_command_line, conf_dir
from marco.config.earlier import failures
from marco.config.relaunch import MULTIRUN
from marco.config.sweep import running_sweep
from marco.training.checks import check_run
from marco.training.recipe.command_line import run_recipe
from marco.training.waiting import wait_briefly


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def job(cfg: DictConfig) -> float | None:
    """One run, in its folder; returns the macro bits per byte at its end, for sweepers."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        from marco.sweeping.point import run_point

        return run_point(cfg, hydra_config)
    from marco.training.job import bits_per_byte, run_alone

    folder = Path(hydra_config.runtime.output_dir).absolute()
    code = run_alone(cfg, list(hydra_config.overrides.task), folder)
    if code:
        raise SystemExit(code)
    return bits_per_byte(folder)


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
    sweep: Path | None = None
    try:
        sys.argv[1:] = check_command_line(sys.argv[1:], check_run)
        sweep = running_sweep(sys.argv[1:])
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        job()
    except KeyboardInterrupt as interrupt:
        _say_how_to_go_on(sweep)
        sys.exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT))
    except SystemExit as ended:
        _say_how_to_go_on(sweep)
        if _from_interrupt(ended):
            sys.exit(128 + signal.SIGINT)
        raise
    if sweep is not None:
        from marco.evaluation.ranking.report import report_sweep

        report_sweep(sweep)
    failed = failures(sweep) if sweep is not None else {}
    if failed:
        _say_how_to_go_on(sweep)
        names = ", ".join(failed)
        sys.exit(f"error: of the sweep's runs these failed: {names} (their log.txt says why)")


def _say_how_to_go_on(sweep: Path | None) -> None:
    if sweep is not None and (sweep / MULTIRUN).is_file():
        from marco.training.folder import resume_hint

        print(f"The sweep goes on with: python train.py {resume_hint(sweep)}")


if __name__ == "__main__":
    main()
