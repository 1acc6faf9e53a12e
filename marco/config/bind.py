"""Bind configured nodes to the explicit signatures of their targets, before anything is created.

``_target_`` names a class. A settings dataclass is built at once, so its own validation runs; any
other class (a Lightning callback) is checked now and created later. Hydra's ``instantiate`` would
find a misspelt key only when the object is made, after the run folder exists.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeVar, get_type_hints

from omegaconf import DictConfig

from marco.config.compose import container
from marco.config.values import convert
from marco.errors import ConfigError, MarcoError, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Deferred:
    """A class and its checked arguments, to be created when its time comes."""

    target: type
    arguments: Mapping[str, Any]
    path: str

    def create(self, base: type[T]) -> T:
        """Create it. Raises ConfigError if it is no ``base`` or refuses its arguments."""
        if not issubclass(self.target, base):
            raise ConfigError(
                f"{self.path}._target_: {self.target.__qualname__} is no {base.__name__}."
            )
        created: T = _call(self.target, self.arguments, self.path)
        return created


def bind(node: DictConfig | Mapping[str, Any], path: str) -> Any:
    """Return the settings object, or the Deferred, that ``node`` describes.

    ``path`` is the node's dotted key, for messages. Raises ConfigError: a target that cannot be
    imported or takes ``**kwargs``; an unknown or missing key; a value of the wrong type; whatever
    the settings refuse.
    """
    return bind_node(plain_mapping(node), path, None)


def bind_named(node: DictConfig | Mapping[str, Any] | None, path: str) -> dict[str, Any]:
    """Bind a group that is a table of nodes (callbacks): name → bound; null switches one off."""
    if node is None:
        return {}
    bound: dict[str, Any] = {}
    for name, inner in plain_mapping(node).items():
        if inner is None:
            continue
        if not isinstance(inner, Mapping) or "_target_" not in inner:
            raise ConfigError(f"{path}.{name} should be null or have a _target_, got {inner!r}.")
        bound[str(name)] = bind_node(inner, f"{path}.{name}", None)
    return bound


def plain_mapping(node: DictConfig | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config node resolved, as plain Python; plain Python as it is."""
    return container(node) if isinstance(node, DictConfig) else dict(node)


def bind_node(node: Mapping[str, Any], path: str, settings: type | None) -> object:
    """Bind a plain mapping to its ``_target_``, or to the dataclass ``settings``."""
    target = settings if settings is not None else locate(node.get("_target_"), path)
    given = {str(key): value for key, value in node.items() if key != "_target_"}
    taken = parameters(target, path)
    for key in given:
        if key not in taken:
            raise ConfigError(
                f"unknown key '{path}.{key}'.{_beside(path, key, taken)} "
                f"{path} has: {', '.join(taken) or 'no keys'}."
            )
    required = [n for n, p in taken.items() if p.default is inspect.Parameter.empty]
    missing = [f"{path}.{name}" for name in required if name not in given]
    if missing:
        raise ConfigError(f"{', '.join(missing)} must be given ({target.__qualname__} needs it).")
    hints = _hints(target, path)
    arguments = {
        key: convert(value, hints.get(key, Any), f"{path}.{key}", bind_node)
        for key, value in given.items()
    }
    if is_dataclass(target):
        return _call(target, arguments, path)
    return Deferred(target, arguments, path)


def locate(target: object, path: str) -> type:
    """Import the class that ``_target_`` names. Raises ConfigError when there is no such class."""
    where = f"{path}._target_"
    if not isinstance(target, str) or not target:
        raise ConfigError(f"{path} has no _target_, the class that it configures.")
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise ConfigError(f"{where}: '{target}' is no package.module.Class.")
    found: Any = _import(parts[0], target, where)
    for number, part in enumerate(parts[1:], start=2):
        if not hasattr(found, part) and inspect.ismodule(found) and number < len(parts):
            found = _import(".".join(parts[:number]), target, where)
            continue
        if not hasattr(found, part):
            names = [name for name in vars(found) if isinstance(vars(found)[name], type)]
            inside = ".".join(parts[: number - 1])
            guess = nearest(part, [*names, *_submodules(found)])
            raise ConfigError(f"{where}: '{inside}' has no '{part}'.{guess}")
        found = getattr(found, part)
    if not isinstance(found, type):
        raise ConfigError(f"{where}: '{target}' is no class.")
    return found


def _import(module: str, target: str, where: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise ConfigError(
                f"{where}: '{target}' needs the package '{error.name}', which is not installed."
            ) from error
        parent, _, leaf = module.rpartition(".")
        known = _submodules(importlib.import_module(parent)) if parent else []
        guess = nearest(leaf, known).replace(" '", f" '{parent}.")
        raise ConfigError(f"{where}: there is no module '{module}'.{guess}") from error
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f"{where}: importing '{module}' failed: {error}") from error


def _submodules(module: Any) -> list[str]:
    return [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))]


def parameters(target: type, path: str) -> dict[str, inspect.Parameter]:
    """Return the arguments of ``target`` by name; ConfigError where they are not explicit."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}._target_: the arguments of {target.__qualname__} cannot be inspected; "
            "wrap it in a dataclass."
        ) from error
    named: dict[str, inspect.Parameter] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ConfigError(
                f"{path}._target_: {target.__qualname__} takes '{parameter}', so a misspelt key "
                "would pass unnoticed; wrap it in a class with explicit arguments."
            )
        if parameter.kind is not parameter.VAR_POSITIONAL:
            named[name] = parameter
    return named


def _hints(target: type, path: str) -> dict[str, Any]:
    try:
        return get_type_hints(
            target if is_dataclass(target) else inspect.getattr_static(target, "__init__")
        )
    except (NameError, TypeError) as error:
        raise ConfigError(
            f"{path}._target_: the annotations of {target.__qualname__} do not resolve: {error}"
        ) from error


def _beside(path: str, key: str, parameters: Mapping[str, Any]) -> str:
    if key.startswith("_"):
        return " Of Hydra's special keys only _target_ is used."
    return nearest(key, parameters).replace(" '", f" '{path}.")


def _call(target: type, arguments: Mapping[str, Any], path: str) -> Any:
    created = {
        key: value.create(object) if isinstance(value, Deferred) else value
        for key, value in arguments.items()
    }
    try:
        return target(**created)
    except MarcoError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {target.__qualname__} refuses this: {error}") from error
