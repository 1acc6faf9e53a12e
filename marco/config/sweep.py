"""The runs that a ``-m`` command line stands for, each as the overrides that compose it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from marco.config import diagnose
from marco.config.compose import Sources, compose
from marco.errors import ConfigError

_BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def split_sweep(overrides: list[str], *, sources: Sources | None = None) -> list[list[str]]:
    """Return the overrides of every point of a sweep, in the order they will run.

    Hydra's basic sweeper takes the product of all swept values, ``hydra.sweeper.params`` of a
    config included. Any other sweeper (Optuna) picks its points while it runs: then the returned
    points are the first value of everything and, one at a time, each other value (an interval's
    two ends), so that every name and type is checked though not every combination. Raises
    ConfigError for a sweep over nothing.
    """
    sources = sources or Sources()
    master = compose(overrides, sources=sources, complete=False, with_hydra=True, multirun=True)
    sweeper = master.hydra.sweeper
    parser = OverridesParser.create(config_loader=sources.loader())
    params = [f"{key}={value}" for key, value in (_params(sweeper)).items()]
    task = [str(text) for text in master.hydra.overrides.task]
    hydra = [str(text) for text in master.hydra.overrides.hydra]
    parsed = diagnose.parse([*params, *task], parser)
    for override in parsed:
        if override.is_discrete_sweep() and not list(override.sweep_string_iterator()):
            raise ConfigError(f"'{override.input_line}' matches nothing, so nothing would run.")
    if sweeper.get("_target_") != _BASIC:
        return [[*hydra, *point] for point in _one_at_a_time(parsed)]
    try:
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except HydraException as error:
        raise ConfigError(f"{error}; a sampling sweeper can: hydra/sweeper=optuna.") from error
    return [[*hydra, *point] for point in chain.from_iterable(batches)]


def is_multirun(overrides: list[str], *, sources: Sources | None = None) -> bool:
    """Return whether the config itself asks for a sweep (``hydra.mode=MULTIRUN``)."""
    cfg = compose(overrides, sources=sources, complete=False, with_hydra=True, multirun=True)
    return cfg.hydra.mode is not None and cfg.hydra.mode.name == "MULTIRUN"


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
