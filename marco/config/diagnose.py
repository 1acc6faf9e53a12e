"""Turn what Hydra and OmegaConf say about a wrong override into one message with the right name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from marco.config.keys import dotted_keys, nearest_key
from marco.errors import ConfigError, nearest

_NOISE = (
    "full_key:",
    "object_type=",
    "reference_type=",
    "See https://",
    "provider=",
    "Search path",
)

# AttributeError: OmegaConf's own, when a mapping is merged into a key that is null.
COMPOSITION_ERRORS = (
    HydraException,
    OmegaConfBaseException,
    yaml.YAMLError,
    OSError,
    ValueError,
    AttributeError,
)


#: Groups of the root of which nothing has to be chosen.
OPTIONAL_GROUPS = ("sweep", "debug")


def parse(overrides: Sequence[str], parser: OverridesParser) -> list[Override]:
    """Parse the command line's overrides. Raises ConfigError that shows the one that is not one."""
    parsed: list[Override] = []
    for text in overrides:
        try:
            (override,) = parser.parse_overrides([text])
        except OverrideParseException as error:
            raise ConfigError(
                f"cannot read the override '{text}': {_syntax(text, error)}"
            ) from error
        except HydraException as error:
            raise ConfigError(f"cannot read the override '{text}': {_flat(str(error))}") from error
        if not override.key_or_group:
            raise ConfigError(f"cannot read the override '{text}': there is no key before the '='.")
        parsed.append(override)
    return parsed


def check_searchpath(parsed: Sequence[Override]) -> None:
    """Raise ConfigError for a folder of ``hydra.searchpath=[…]`` that does not exist.

    Hydra only warns, and then reports the user's own config as unknown.
    """
    for override in parsed:
        value = override.value()
        if override.get_key_element() != "hydra.searchpath" or not isinstance(value, list):
            continue
        for place in value:
            folder = str(place).removeprefix("file://")
            if "://" not in folder and not Path(folder).is_dir():
                raise ConfigError(f"hydra.searchpath: there is no folder '{folder}'.")


def check_optional(parsed: Sequence[Override], loader: ConfigLoaderImpl) -> None:
    """Raise ConfigError for an option that an optional group has not.

    Hydra would leave the group empty without a word.
    """
    for override in parsed:
        if override.key_or_group in OPTIONAL_GROUPS and override.value() is not None:
            problem = _option(override, loader, parsed)
            if problem:
                raise ConfigError(problem)


def explain(
    error: Exception, parsed: Sequence[Override], loader: ConfigLoaderImpl, name: str
) -> ConfigError:
    """Return the one message for a failed composition: what is wrong, what would be right.

    The overrides are examined themselves, not Hydra's wording: that differs between versions.
    """
    for override in parsed:
        problem = _sweep(override, error) or _option(override, loader, parsed)
        if problem:
            return ConfigError(problem)
    composed = _composed(loader, name, parsed)
    if composed is not None:
        tree, choices = composed
        groups = [group for group in loader.list_groups("") if group != "hydra"]
        known = [*dotted_keys(tree), *groups]
        for override in parsed:
            for key in _keys_named_by(override):
                problem = _unknown(key, tree, known)
                if problem and not override.is_hydra_override():
                    elsewhere = _of_other_options(key, choices, loader, _searchpath(parsed))
                    return ConfigError(elsewhere or problem)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        wanted = str(error.missing_cfg_file)
        group, _, option = wanted.rpartition("/")
        return ConfigError(_no_option(group, option, error.options or []) or _flat(str(error)))
    if isinstance(error, yaml.YAMLError):
        return ConfigError(f"a config file is not valid YAML: {_flat(str(error))}")
    if isinstance(error, OmegaConfBaseException):
        return ConfigError(of_omegaconf(error))
    cause = error.__cause__
    text = _flat(str(error))
    if isinstance(cause, OmegaConfBaseException):
        text = f"{text}: {of_omegaconf(cause)}" if text else of_omegaconf(cause)
    return ConfigError(text or type(error).__name__)


def of_omegaconf(error: OmegaConfBaseException) -> str:
    """Return OmegaConf's message on one line, with the key it is about in front."""
    text = _flat(str(error))
    key = error.full_key
    return f"{key}: {text}" if key and not text.startswith(f"{key}:") else text


def unknown_key(key: str, tree: Mapping[Any, Any]) -> str:
    """Return the message for a key that is not in the tree: nearest name, and its neighbours."""
    known = list(dotted_keys(tree))
    return _unknown(key, tree, known) or f"unknown key '{key}'.{nearest_key(key, known)}"


def _syntax(text: str, error: OverrideParseException) -> str:
    if text.startswith("-"):
        return "flags are not overrides; `--help` lists the flags."
    if "=" not in text and not text.startswith("~"):
        return "an override is key=value."
    return f"{_flat(error.message)} (quote values with spaces or special characters: \"key='a b'\")"


def _sweep(override: Override, error: Exception) -> str | None:
    if not override.is_sweep_override():
        return None
    if "--multirun" not in str(error) and "Ambiguous" not in str(error):
        return None
    key, _, value = str(override.input_line).partition("=")
    return (
        f"'{override.input_line}' is a sweep: add -m to run every value, "
        f"or write {key}=[{value}] for a list."
    )


def _option(override: Override, loader: ConfigLoaderImpl, parsed: Sequence[Override]) -> str | None:
    """Return the message for a group override that names an option that does not exist."""
    value = override.value()
    group = override.key_or_group
    if override.is_delete() or override.is_sweep_override():
        return None
    choices = loader.get_group_options(group, ObjectType.CONFIG)
    if value is None and choices:
        instead = f"{group}=none" if "none" in choices else f"one of {', '.join(choices)}"
        return f"'{override.input_line}': a group is not null: choose {instead}."
    if not isinstance(value, (str, list)):
        return None
    searchpath = _searchpath(parsed)
    options = loader.get_group_options(group, ObjectType.CONFIG, overrides=searchpath)
    if not options and not loader.get_group_options(group, ObjectType.GROUP, overrides=searchpath):
        return None
    for option in [value] if isinstance(value, str) else value:
        folder, _, name = f"{group}/{option}".rpartition("/")
        inside = loader.get_group_options(folder, ObjectType.CONFIG, overrides=searchpath)
        if name.removesuffix(".yaml") not in inside:
            below = loader.get_group_options(group, ObjectType.GROUP, overrides=searchpath)
            nested = [
                f"{sub}/{item}"
                for sub in below
                for item in loader.get_group_options(f"{group}/{sub}", overrides=searchpath)
            ]
            return _no_option(group, str(option), [*options, *nested])
    return None


def _searchpath(parsed: Sequence[Override]) -> list[str]:
    return [str(o.input_line) for o in parsed if o.key_or_group == "hydra.searchpath"]


def _no_option(group: str, option: str, options: Sequence[str]) -> str:
    if not options:
        return f"there is no config '{group}/{option}'." if group else f"no config '{option}'."
    extra = ""
    if group.startswith("hydra/"):
        extra = ' Sweepers and launchers come with `pip install "marco-train[sweep]"`.'
    return (
        f"{group}={option}: there is no such option.{nearest(option, options)} "
        f"{group} has: {', '.join(sorted(options))}.{extra}"
    )


def _composed(
    loader: ConfigLoaderImpl, name: str, parsed: Sequence[Override]
) -> tuple[dict[Any, Any], dict[str, str | None]] | None:
    """Compose without the value overrides: the keys that do exist, and each group's option."""
    groups = [
        str(override.input_line)
        for override in parsed
        if not override.is_sweep_override()
        and not override.is_delete()
        and not isinstance(override.value(), dict)
        and (loader.get_group_options(override.key_or_group) or override.is_hydra_override())
    ]
    for kept in (groups, []):
        try:
            cfg = loader.load_configuration(name, kept, RunMode.MULTIRUN)
        except COMPOSITION_ERRORS:
            continue
        tree = OmegaConf.to_container(cfg, resolve=False)  # missing values stay "???"
        assert isinstance(tree, dict)
        return tree, tree.pop("hydra")["runtime"]["choices"]
    return None


def _of_other_options(
    key: str,
    choices: Mapping[str, str | None],
    loader: ConfigLoaderImpl,
    searchpath: Sequence[str],
) -> str | None:
    """Return the message for a key that the chosen option of its group lacks and others have."""
    group, _, leaf = key.partition(".")
    chosen = choices.get(group)
    if chosen is None or not leaf:
        return None
    # As they are written: to compose eighteen models takes seconds.
    _, files = loader._parse_overrides_and_create_caching_repo(None, list(searchpath))
    having = []
    for option in files.get_group_options(group, ObjectType.CONFIG):
        with suppress(*COMPOSITION_ERRORS):
            written = files.load_config(f"{group}/{option}")
            if written is None or written.header["package"] not in (None, "_group_", group):
                continue
            keys = OmegaConf.to_container(written.config, resolve=False)
            if isinstance(keys, dict) and leaf in dotted_keys(keys):
                having.append(f"{group}={option}")
    if not having:
        return None
    *first, last = having if len(having) <= 4 else [*having[:3], f"{len(having) - 3} others"]
    listed = f"{', '.join(first)} and {last} have" if first else f"{last} has"
    return f"unknown key '{key}': {group}={chosen} has no '{leaf}'; {listed}."


def _keys_named_by(override: Override) -> Iterator[str]:
    if override.is_add() or override.is_force_add():
        return
    yield override.key_or_group
    value = override.value()
    if isinstance(value, dict):
        yield from dotted_keys(value, f"{override.key_or_group}.")


def _unknown(key: str, tree: Mapping[Any, Any], known: Sequence[str]) -> str | None:
    if key in known:
        return None
    parent, _, leaf = key.rpartition(".")
    if leaf in _parameters(tree, parent):
        return f"the config does not write '{key}' out: +{key}=… sets it."
    siblings = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == parent]
    listed = [s for s in siblings if not s.startswith("_")]
    beside = nearest(leaf, listed) if parent and parent in known else ""
    guess = beside.replace(" '", f" '{parent}.") if beside else nearest_key(key, known)
    has = f" {parent} has: {', '.join(listed)}." if parent in known and listed else ""
    add = f" To add an entry to the table, write +{key}=…" if _is_table(tree, parent) else ""
    return f"unknown key '{key}'.{guess}{has}{add}"


def _is_table(tree: Mapping[Any, Any], key: str) -> bool:
    """Return whether ``key`` is a mapping whose keys are the user's own (a table of weights)."""
    if "." not in key:
        return False
    node = _node(tree, key)
    return isinstance(node, Mapping) and "_target_" not in node


def _parameters(tree: Mapping[Any, Any], key: str) -> Collection[str]:
    """Return what the ``_target_`` of the node ``key`` takes, whether it is in the tree or not."""
    from marco.config.bind import locate, parameters  # which composes, and so needs this module

    node = _node(tree, key)
    if not isinstance(node, Mapping) or "_target_" not in node:
        return ()
    try:
        return parameters(locate(node["_target_"], key), key)
    except ConfigError:  # said when it is bound
        return ()


def _node(tree: Mapping[Any, Any], key: str) -> Any:
    node: Any = tree
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _flat(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in lines if line and not line.startswith(_NOISE) and line != "^"]
    return " ".join(kept)
