"""Check one configured value strictly against its annotated type, and say what is wrong."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from marco.errors import ConfigError, nearest

BindNode = Callable[[Mapping[str, Any], str, type | None], object]
"""Builds what a mapping describes: ``(node, dotted path, the dataclass it is for, if any)``."""

_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Path: "a path",
    type(None): "null",
}
_LISTS = (list, tuple, set, frozenset, Sequence)


def convert(value: Any, hint: Any, path: str, bind_node: BindNode) -> Any:
    """Return ``value`` as the type ``hint``, or raise ConfigError naming ``path``.

    Nothing is guessed: text is no number and a number no text. An int is accepted where a float
    is wanted, a list where a tuple is. A mapping with ``_target_``, or one where a settings
    dataclass is wanted, becomes that object by way of ``bind_node``.
    """
    origin = get_origin(hint)
    if isinstance(value, Mapping) and "_target_" in value:
        return _instance(bind_node(value, path, None), hint, path)
    if origin in (Union, types.UnionType):
        return _union(value, hint, path, bind_node)
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise _wrong(value, hint, path)
        return bind_node(value, path, hint)
    if hint in _LISTS or origin in _LISTS:
        return _list(value, hint, path, bind_node)
    if hint in (dict, Mapping) or origin in (dict, Mapping):
        return _dict(value, hint, path, bind_node)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and issubclass(hint, Enum) and isinstance(value, str):
        if value in hint.__members__:
            return hint[value]
        raise _wrong(value, hint, path)
    if hint is Any or hint is object:
        return _untyped(value, path, bind_node)
    if isinstance(value, float) and math.isnan(value):
        raise _wrong(value, hint, path)
    return _scalar(value, hint, path)


def describe(hint: Any) -> str:
    """Return a type in a reader's words: ``int | None`` is "a whole number or null"."""
    origin = get_origin(hint)
    if hint in _WORDS:
        return _WORDS[hint]
    if origin in (Union, types.UnionType):
        return " or ".join(describe(member) for member in get_args(hint))
    if origin is Literal:
        return f"one of {', '.join(_shown(choice) for choice in get_args(hint))}"
    if hint in _LISTS or origin in _LISTS:
        inner = [member for member in get_args(hint) if member is not ...]
        return f"a list (each item {describe(inner[0])})" if inner else "a list"
    if hint in (dict, Mapping) or origin in (dict, Mapping):
        return "a table of key: value"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of {', '.join(hint.__members__)}"
    if is_dataclass(hint):
        return "a group of keys"
    return str(getattr(hint, "__name__", hint))


def _scalar(value: Any, hint: Any, path: str) -> Any:
    try:
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(hint, config=_STRICT)
        except PydanticUserError:  # a type that brings its own configuration
            adapter = TypeAdapter(hint)
        return adapter.validate_python(value)
    except ValidationError as error:
        raise _wrong(value, hint, path) from error


def _union(value: Any, hint: Any, path: str, bind_node: BindNode) -> Any:
    members = get_args(hint)
    if value is None and type(None) in members:
        return None
    if type(value) in members:
        return convert(value, type(value), path, bind_node)
    problems: list[ConfigError] = []
    for member in members:
        if member is type(None):
            continue
        try:
            return convert(value, member, path, bind_node)
        except ConfigError as error:
            problems.append(error)
    if len(problems) == 1 and isinstance(value, (Mapping, list)):
        raise problems[0]
    raise _wrong(value, hint, path)


def _list(value: Any, hint: Any, path: str, bind_node: BindNode) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _wrong(value, hint, path)
    inner, kind = get_args(hint), get_origin(hint) or hint
    if kind is tuple and inner and inner[-1] is not ...:
        if len(value) != len(inner):
            raise ConfigError(f"{path} should hold {len(inner)} values, got {len(value)}.")
        each: Sequence[Any] = inner
    else:
        each = [inner[0] if inner else Any] * len(value)
    items = [
        convert(item, member, f"{path}[{number}]", bind_node)
        for number, (item, member) in enumerate(zip(value, each, strict=True))
    ]
    return items if kind in (list, Sequence) else kind(items)


def _dict(value: Any, hint: Any, path: str, bind_node: BindNode) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(value, hint, path)
    key_hint, item_hint = get_args(hint) or (Any, Any)
    return {
        convert(key, key_hint, f"{path}: the key {_shown(key)}", bind_node): convert(
            item, item_hint, f"{path}.{key}", bind_node
        )
        for key, item in value.items()
    }


def _untyped(value: Any, path: str, bind_node: BindNode) -> Any:
    if isinstance(value, Mapping):
        return _dict(value, dict, path, bind_node)
    return _list(value, list, path, bind_node) if isinstance(value, list) else value


def _instance(bound: object, hint: Any, path: str) -> object:
    """Check a bound node against a hint made of classes; what is no class accepts everything."""
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    target = getattr(bound, "target", type(bound))
    for member in members:
        base = get_origin(member) or member
        if base in (Any, object) or not isinstance(base, type) or _is_protocol(base):
            return bound
        if isinstance(target, type) and issubclass(target, base):
            return bound
    raise ConfigError(
        f"{path} should be {describe(hint)}, got a {getattr(target, '__name__', target)}."
    )


def _is_protocol(base: type) -> bool:
    return typing.Protocol in base.__mro__ and getattr(base, "_is_protocol", False)


def _wrong(value: Any, hint: Any, path: str) -> ConfigError:
    return ConfigError(
        f"{path} should be {describe(hint)}, got {_shown(value)}.{_advice(value, hint)}"
    )


def _advice(value: Any, hint: Any) -> str:
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    choices = [c for m in members if get_origin(m) is Literal for c in get_args(m)]
    if choices and isinstance(value, str):
        return nearest(value, [str(choice) for choice in choices])
    if isinstance(value, float) and int in members and value.is_integer():
        return f" Write {int(value)}."
    if isinstance(value, bool) and str in members:
        return " YAML reads a bare no, yes, on or off as true or false: quote it."
    if isinstance(value, (int, float)) and str in members:
        return " Quote it to make it text."
    if isinstance(value, str) and (int in members or float in members) and _is_number(value):
        return " Take the quotes away."
    if isinstance(value, str) and any(m in _LISTS or get_origin(m) in _LISTS for m in members):
        return f" Write [{value}]."
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
