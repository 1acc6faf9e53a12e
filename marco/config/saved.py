"""The configuration in a run's folder: written for people and for ``resume``, read back by it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from marco.config import redact
from marco.config.compose import container
from marco.errors import CheckpointError, ConfigError
from marco.run_folder import run_of

CONFIG = "config.yaml"
INTERPOLATIONS = "interpolations.yaml"
OVERRIDES = "overrides.txt"
PATHS = ("branch", "data.path", "model.path", "tokenizer.path", "paths.runs")
_ENVIRONMENT = re.compile(r"\$\{\s*oc\.env\s*:\s*['\"]?(\w+)")


def save_config(
    cfg: DictConfig, overrides: list[str], folder: Path, *, changeable: tuple[str, ...]
) -> None:
    """Write a run's configuration to its folder.

    - ``config.yaml``: everything, resolved, without secrets.
    - ``overrides.txt``: the command line's overrides, one a line, without secrets; those of a
      resume follow below.
    - ``interpolations.yaml``: ``{dotted key: how it was written}`` for the keys whose value follows
      one of the ``changeable`` keys, or a secret of the environment. Without it a schedule that
      says ``${tokens}`` would keep the old budget when a resumed run is given another.
    """
    redact.write(redact.to_yaml(redact.resolved(with_whole_paths(cfg))), folder / CONFIG)
    redact.write(redact.to_yaml(_following(cfg, changeable)), folder / INTERPOLATIONS)
    before = folder / OVERRIDES
    kept = before.read_text(encoding="utf-8") if cfg.resume is not None and before.is_file() else ""
    lines = [f"{line}\n" for line in redact.redact_overrides(overrides)]
    redact.write("".join([kept, *lines]), before)


def load_config(folder: Path) -> DictConfig:
    """Read back what ``save_config`` wrote. Raises CheckpointError if it is missing or damaged."""
    cfg = _read(folder / CONFIG)
    if (folder / INTERPOLATIONS).is_file():
        for key, written in _read(folder / INTERPOLATIONS).items_ex(resolve=False):
            OmegaConf.update(cfg, str(key), written)
    OmegaConf.set_struct(cfg, True)
    return cfg


def require_secrets(cfg: DictConfig) -> None:
    """Raise ConfigError for secrets that were given on the command line and so were not saved."""
    for key, value in leaves(container(cfg)):
        if isinstance(value, str) and redact.REDACTED in value:
            raise ConfigError(f"{key} is a secret and was not saved: give it again, {key}=…")


def with_whole_paths(cfg: DictConfig) -> DictConfig:
    """Return the config with the paths that exist made absolute: resume may be called elsewhere.

    Links to runs are followed: ``runs/last`` is about to be another.
    """
    whole = copy.deepcopy(cfg)
    for key in PATHS:
        value = OmegaConf.select(cfg, key)
        if isinstance(value, str) and Path(value).expanduser().exists():
            place = Path(value).expanduser()
            OmegaConf.update(
                whole, key, str(place.resolve() if run_of(place) else place.absolute())
            )
    return whole


def _following(cfg: DictConfig, changeable: tuple[str, ...]) -> dict[str, str]:
    """Return the interpolations whose value changes when a changeable key does.

    Found by changing each one and looking, which also finds what follows it by a detour.
    """
    before = dict(leaves(container(cfg)))
    written = dict(leaves(OmegaConf.to_container(cfg, resolve=False)))
    follows = {
        key: raw
        for key, raw in written.items()
        if isinstance(raw, str) and any(map(redact.is_secret_name, _ENVIRONMENT.findall(raw)))
    }
    for key in changeable:
        if OmegaConf.select(cfg, key) is None:
            continue
        other = copy.deepcopy(cfg)
        with open_dict(other):
            OmegaConf.update(other, key, _different(OmegaConf.select(cfg, key)))
        after = dict(leaves(container(other)))
        changed = [name for name, value in after.items() if value != before.get(name)]
        for name in changed:
            # Where a whole group is one interpolation, its keys are written at the group.
            while name and name not in written:
                name = name.rpartition(".")[0]
            if name and name != key:
                follows[name] = written[name]
    return {key: raw for key, raw in follows.items() if isinstance(raw, str) and "${" in raw}


def _different(value: Any) -> Any:
    return value + 1 if isinstance(value, (int, float)) else "another value"


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings and lists by their dotted keys."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from leaves(value, f"{prefix}.{number}")
    else:
        yield prefix, tree


def _read(path: Path) -> DictConfig:
    try:
        loaded: DictConfig | ListConfig = OmegaConf.load(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"'{path.parent}' has no {path.name}: it is no run folder."
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"'{path}' cannot be read: {first}") from error
    if not isinstance(loaded, DictConfig):
        raise CheckpointError(f"'{path}' is damaged: it should hold keys and values.")
    return loaded
