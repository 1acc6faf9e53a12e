"""A search by Optuna that goes on where it stopped: its study is a file in the sweep's folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.plugins.launcher import Launcher
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from marco.config.earlier import FAILED, PRUNED
from marco.config.redact import write
from marco.config.relaunch import MULTIRUN
from marco.errors import ConfigError
from marco.sweeping.study import NAME, storage
from marco.training.job import bits_per_byte

log = logging.getLogger(__name__)

BEST = "optimization_results.yaml"


def search(
    launcher: Launcher,
    config: DictConfig,
    arguments: list[str],
    *,
    sampler: BaseSampler,
    n_trials: int,
    batch: int,
    params: dict[str, str] | None = None,
) -> None:
    """Make runs of the values that the sampler picks, until the study has `n_trials`.

    A trial's run is in the folder of its number. Trials that an earlier launch began and did not
    end come first. One that fails counts, and says so in its folder.

    Args:
        launcher: makes the runs. config: of the sweep. arguments: the command line's overrides.
        sampler: of Optuna; picks the values.
        n_trials: how many there should be in the end, those of earlier launches included.
        batch: how many are picked at once, and made side by side by a launcher that can.
        params: overrides in the config; the command line's come after them.

    Raises:
        ConfigError: nothing to search.
    """
    given = [f"{key}={value}" for key, value in (params or {}).items()]
    space, fixed = create_params_from_overrides([*given, *arguments])
    space = {key: distribution for key, distribution in space.items() if key not in fixed}
    if not space:
        raise ConfigError("hydra/sweeper=search: give a space, optimizer.lr='interval(1e-4,1e-2)'.")
    folder = Path(str(config.hydra.sweep.dir))
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / MULTIRUN)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=NAME, storage=storage(folder), sampler=sampler, load_if_exists=True
    )
    if study.get_trials(deepcopy=False):
        sampler.reseed_rng()  # with its own seed it would draw the first trials' values again
    begun = [trial for trial in study.get_trials() if trial.state == TrialState.RUNNING]
    while begun or len(study.get_trials(deepcopy=False)) < n_trials:
        trials: list[FrozenTrial | Trial] = [*begun[:batch]]
        begun = begun[len(trials) :]
        if not begun:
            room = min(batch - len(trials), n_trials - len(study.get_trials(deepcopy=False)))
            trials += [_ask(study, space) for _ in range(room)]
        for following in _consecutive(trials):
            overrides = [[f"{k}={v}" for k, v in {**t.params, **fixed}.items()] for t in following]
            launcher.launch(overrides, initial_job_idx=following[0].number)
            for trial in following:
                _tell(study, trial.number, folder / str(trial.number))
    _say_best(study, folder)


def _ask(study: optuna.Study, space: dict[str, Any]) -> Trial:
    trial = study.ask()
    for name, distribution in space.items():
        trial._suggest(name, distribution)
    return trial


def _consecutive(trials: Sequence[FrozenTrial | Trial]) -> list[list[FrozenTrial | Trial]]:
    """Cut into those with one number after the other, which is how a launcher counts."""
    parts: list[list[FrozenTrial | Trial]] = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        if parts and parts[-1][-1].number + 1 == trial.number:
            parts[-1].append(trial)
        else:
            parts.append([trial])
    return parts


def _tell(study: optuna.Study, number: int, folder: Path) -> None:
    """Say how a trial ended; one of which nothing says so goes on with the next launch."""
    value = bits_per_byte(folder)
    if (folder / PRUNED).is_file():
        study.tell(number, state=TrialState.PRUNED)
    elif value is not None:
        study.tell(number, value)
    elif (folder / FAILED).is_file() or (folder / "summary.json").is_file():
        study.tell(number, state=TrialState.FAIL)


def _say_best(study: optuna.Study, folder: Path) -> None:
    counts = {
        state: sum(trial.state == state for trial in study.get_trials(deepcopy=False))
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    }
    numbers = tuple(counts.values())
    log.info("%d trials: %d finished, %d pruned, %d failed.", sum(numbers), *numbers)
    if not counts[TrialState.COMPLETE]:
        return
    best = study.best_trial
    shown = " ".join(f"{key}={value}" for key, value in best.params.items())
    log.info("Best: run %d, %.4f bits per byte: %s", best.number, best.value, shown)
    found = {"name": "optuna", "best_params": best.params, "best_value": best.value}
    write(json.dumps({**found, "best_run": best.number}, indent=1) + "\n", folder / BEST)
