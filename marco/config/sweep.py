"""The runs that a ``-m`` command line stands for, each as the overrides that compose it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from marco.config import diagnose
from marco.config.compose import Sources, compose
from marco.errors import ConfigError

_BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
_PACKAGES = {
    "hydra_plugins.marco_sweeps.ParallelLauncher": "hydra_plugins.hydra_joblib_launcher",
    "hydra_plugins.marco_sweeps.OptunaSweeper": "hydra_plugins.hydra_optuna_sweeper",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher": "submitit",
}
"""What a launcher or sweeper cannot do without."""


SWEEP_DIR = "hydra.sweep.dir="


@dataclass(frozen=True)
class Sweep:
    """What a ``-m`` command line stands for."""

    points: list[list[str]]
    """The overrides of every run, in their order."""
    numbered: bool
    """Whether the run of a point is in the folder of its number, counted from 0."""
    master: DictConfig
    """The config with what is swept left at its defaults, Hydra's node included."""

    @property
    def folder(self) -> Path:
        """Where the runs' folders go, absolute."""
        return Path(str(self.master.hydra.sweep.dir)).expanduser().absolute()


def split_sweep(overrides: list[str], *, sources: Sources | None = None) -> list[list[str]]:
    """Return the overrides of every point of a sweep, as ``plan_sweep`` does."""
    return plan_sweep(overrides, sources=sources).points


def plan_sweep(overrides: list[str], *, sources: Sources | None = None) -> Sweep:
    """Return the points of a sweep, and where they go.

    Hydra's basic sweeper takes the product of all swept values, ``hydra.sweeper.params`` of a
    config included. Any other sweeper (Optuna) picks its points while it runs: then the returned
    points are the first value of everything and, one at a time, each other value (an interval's
    two ends), so that every name and type is checked though not every combination. Raises
    ConfigError for a sweep over nothing, and where a package is missing.
    """
    sources = sources or Sources()
    master = compose(overrides, sources=sources, complete=False, with_hydra=True, multirun=True)
    sweeper = master.hydra.sweeper
    _require_packages(str(sweeper.get("_target_")), str(master.hydra.launcher.get("_target_")))
    parser = OverridesParser.create(config_loader=sources.loader())
    params = [f"{key}={value}" for key, value in (_params(sweeper)).items()]
    task = [str(text) for text in master.hydra.overrides.task]
    hydra = [str(text) for text in master.hydra.overrides.hydra]
    parsed = diagnose.parse([*params, *task], parser)
    for override in parsed:
        if override.is_discrete_sweep() and not list(override.sweep_string_iterator()):
            raise ConfigError(f"'{override.input_line}' matches nothing, so nothing would run.")
    if sweeper.get("_target_") != _BASIC:
        points = _one_at_a_time(parsed)
        return Sweep([[*hydra, *point] for point in points], numbered=False, master=master)
    try:
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except HydraException as error:
        raise ConfigError(f"{error}; a sampling sweeper can: hydra/sweeper=search.") from error
    subdir = master.hydra.sweep._get_node("subdir")._value()
    points = [[*hydra, *point] for point in chain.from_iterable(batches)]
    return Sweep(points, subdir == "${hydra.job.num}", master)


def running_sweep(argv: Sequence[str]) -> Path | None:
    """Return the folder of the sweep that a checked command line starts, None for a single run."""
    last = argv[-1] if argv else ""
    if not last.startswith(SWEEP_DIR):
        return None
    (override,) = diagnose.parse([last], OverridesParser.create())
    return Path(str(override.value()))


def is_multirun(overrides: list[str], *, sources: Sources | None = None) -> bool:
    """Return whether the config itself asks for a sweep (``hydra.mode=MULTIRUN``)."""
    cfg = compose(overrides, sources=sources, complete=False, with_hydra=True, multirun=True)
    return cfg.hydra.mode is not None and cfg.hydra.mode.name == "MULTIRUN"


def _require_packages(*targets: str) -> None:
    if _JOBLIB in targets:
        raise ConfigError(
            "hydra/launcher=joblib kills the runs on Ctrl-C and mixes their output: "
            "hydra/launcher=parallel is joblib without that."
        )
    for target in targets:
        if target in _PACKAGES and not _is_there(_PACKAGES[target]):
            raise ConfigError(
                f"{_PACKAGES[target].rpartition('.')[2]} is not installed: "
                "pip install 'marco-train[sweep]'. Without it runs are made one after the other, "
                "hydra/launcher=basic, of values that are listed."
            )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def _params(sweeper: DictConfig) -> dict[str, str]:
    params = sweeper.get("params")
    if params is None:
        return {}
    plain = OmegaConf.to_container(params, resolve=True)
    return {str(key): str(value) for key, value in plain.items()} if isinstance(plain, dict) else {}


def _one_at_a_time(overrides: Sequence[Override]) -> list[list[str]]:
    choices: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_discrete_sweep():
            values = [str(value) for value in override.sweep_string_iterator()]
        elif override.is_interval_sweep():
            interval = override.value()
            assert isinstance(interval, IntervalSweep)
            values = [str(interval.start), str(interval.end)]
        else:
            values = [override.get_value_element_as_str()]
        choices[key] = [f"{key}={value}" for value in values]
    first = {key: values[0] for key, values in choices.items()}
    points = [list(first.values())]
    for key, values in choices.items():
        points += [list({**first, key: value}.values()) for value in values[1:]]
    return points


def names_of(points: Sequence[Sequence[str]]) -> list[str]:
    """Return a folder's name for each point of a sweep: what is swept, ``weights-0.3_seed-1``."""
    values = [dict(text.lstrip("+").partition("=")[::2] for text in point) for point in points]
    swept = [key for key in values[0] if len({each.get(key) for each in values}) > 1]
    return ["_".join(f"{key}-{_plain(each[key])}" for key in swept) for each in values]


def _plain(value: str) -> str:
    """A value with nothing in it that a shell, a path or an override reads as its own."""
    return re.sub(r"[^\w.+-]+", "-", value).strip("-")
