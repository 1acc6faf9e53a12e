"""Compose the root config as Hydra will, before Hydra starts, and say what is wrong with it.

Hydra's loader is used directly: it reads the same files in the same order as the compose API, but
leaves ``GlobalHydra`` alone, so a config can also be composed inside a running job.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobRuntime, setup_globals
from hydra.types import RunMode
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from marco.config import diagnose
from marco.config.paths import conf_dir
from marco.errors import ConfigError

HYDRA_VERSION_BASE = "1.3"


@dataclass(frozen=True)
class Sources:
    """What is composed: Hydra's ``--config-path``, ``--config-dir`` and ``--config-name``."""

    tree: str | None = None
    """The primary tree, a folder or ``pkg://…``; ``None`` is marco's own."""
    extra: Path | None = None
    """A folder searched before the primary one."""
    name: str = "train"
    """The root config."""

    def loader(self) -> ConfigLoaderImpl:
        """Return Hydra's loader over these places. Raises ConfigError if ``extra`` is no folder."""
        setbase(HYDRA_VERSION_BASE)
        setup_globals()
        JobRuntime.instance().set("name", self.name)
        path = create_config_search_path(self.tree if self.tree is not None else str(conf_dir()))
        if self.extra is not None:
            if not self.extra.is_dir():
                raise ConfigError(f"--config-dir: there is no folder '{self.extra}'.")
            path.prepend(
                provider="command-line",
                path=f"file://{self.extra.absolute()}",
                anchor=SearchPathQuery(provider="schema"),
            )
        return ConfigLoaderImpl(config_search_path=path)


def compose(
    overrides: list[str],
    *,
    sources: Sources | None = None,
    complete: bool = True,
    with_hydra: bool = False,
    multirun: bool = False,
) -> DictConfig:
    """Return the config of one run.

    ``complete`` also demands that no mandatory value (``???``) is missing and that every
    interpolation resolves; ``--cfg`` and ``--help`` show configs that are not. ``with_hydra``
    keeps Hydra's own node. ``multirun`` accepts sweeps and leaves the swept keys at their
    defaults. Raises ConfigError, with one message, for everything Hydra or OmegaConf refuses.
    """
    sources = sources or Sources()
    loader = sources.loader()
    parsed = diagnose.parse(overrides, OverridesParser.create(config_loader=loader))
    diagnose.check_searchpath(parsed)
    diagnose.check_optional(parsed, loader)
    try:
        with warnings.catch_warnings():
            # An unavailable search path was reported above, by name.
            warnings.simplefilter("ignore", UserWarning)
            cfg: DictConfig = loader.load_configuration(
                config_name=sources.name,
                overrides=list(overrides),
                run_mode=RunMode.MULTIRUN if multirun else RunMode.RUN,
                validate_sweep_overrides=not multirun,
            )
    except diagnose.COMPOSITION_ERRORS as error:
        raise diagnose.explain(error, parsed, loader, sources.name) from error
    if not with_hydra:
        with open_dict(cfg):
            cfg.pop("hydra", None)
    if complete:
        require_complete(cfg)
    return cfg


def require_complete(cfg: DictConfig) -> None:
    """Raise ConfigError for mandatory values that were not given, or interpolations that fail."""
    plain = copy.copy(cfg)
    if "hydra" in plain:
        with open_dict(plain):
            plain.pop("hydra")
    try:
        missing = sorted(OmegaConf.missing_keys(plain))
    except OmegaConfBaseException as error:
        raise ConfigError(diagnose.of_omegaconf(error)) from error
    if missing:
        need = " ".join(f"{key}=…" for key in missing)
        raise ConfigError(f"{', '.join(missing)} must be given: add {need}")
    container(plain)


def container(cfg: DictConfig) -> dict[str, Any]:
    """Return the resolved config as plain Python; ConfigError where it cannot be resolved."""
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(diagnose.of_omegaconf(error)) from error
    except ValueError as error:  # a resolver that refused its argument
        raise ConfigError(f"the configuration cannot be resolved: {error}") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"the configuration should be a mapping, got {type(plain).__name__}.")
    return {str(key): value for key, value in plain.items()}
