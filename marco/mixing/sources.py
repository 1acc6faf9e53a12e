"""The names of what is mixed: languages under any alias, and sources that are no language."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from marco import languages
from marco.errors import ConfigError, nearest

#: What Marco-LLM mixes beside monolingual text (2412.04003, table 1).
OTHER_SOURCES = ("parallel", "knowledge", "synthetic")


def resolve(name: str, present: Collection[str], where: str) -> str:
    """Return the name under which the data knows ``name``.

    Args:
        name: a source of the data, one of :data:`OTHER_SOURCES`, or any alias of a language.
        present: the names of the data's sources.
        where: the key to blame in the message.

    Raises:
        ConfigError: the name means nothing, or more than one language; says what may be meant.
    """
    if name in present or name in OTHER_SOURCES:
        return name
    try:
        return languages.get(name).code
    except ConfigError as error:
        others = [source for source in present if resource_group(source) is None]
        guess = nearest(name, [*others, *OTHER_SOURCES, *languages.GROUPS])
        if guess:
            reason = f"'{name}' is neither a source of the data nor a language.{guess}"
            raise ConfigError(f"{where}: {reason}") from error
        raise ConfigError(f"{where}: {error}") from error


def listed(entries: Sequence[str], present: Collection[str], where: str) -> list[str]:
    """Return the sources of the data that a list names, in the data's order.

    Args:
        entries: names as :func:`resolve` takes them, or resource groups of the registry.
        present: the names of the data's sources.
        where: the key to blame in the message.

    Raises:
        ConfigError: an entry that means nothing, is named twice, or that the data doesn't have.
    """
    found: dict[str, str] = {}
    for entry in entries:
        if entry in languages.GROUPS:
            named = [source for source in present if resource_group(source) == entry]
        else:
            named = [source for source in present if source == resolve(entry, present, where)]
        if not named:
            raise ConfigError(f"{where}: the data has nothing for '{entry}'")
        for source in named:
            if source in found:
                raise ConfigError(f"{where}: '{found[source]}' and '{entry}' both name {source}")
            found[source] = entry
    return [source for source in present if source in found]


def resource_group(source: str) -> str | None:
    """Return the registry's group of a language, or None for a source that is no language."""
    if source in OTHER_SOURCES:
        return None
    try:
        return languages.get(source).group
    except ConfigError:
        return None
