"""The templates that make one text out of two: `marco/assets/pair_templates.yaml`.

A template is cut at its placeholders once, and a text is put between the pieces as it is: what
looks like a placeholder inside a text ("{target}") is text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import yaml

from marco.errors import ConfigError, nearest

_PLACEHOLDERS = ("source_language", "target_language", "source", "target")


@dataclass(frozen=True)
class Template:
    """One shape.

    Attributes:
        name: its key in the table.
        pieces: literal text and placeholders' names in turn; literal text first and last.
    """

    name: str
    pieces: tuple[str, ...]

    def render(self, source_language: str, target_language: str, source: str, target: str) -> str:
        """Return the text with everything in its place."""
        values = dict(
            zip(_PLACEHOLDERS, (source_language, target_language, source, target), strict=True)
        )
        return "".join(
            values[piece] if number % 2 else piece for number, piece in enumerate(self.pieces)
        )


@lru_cache(maxsize=1)
def all_templates() -> tuple[Template, ...]:
    """Return the eleven shapes, in the table's order."""
    text = (files("marco") / "assets" / "pair_templates.yaml").read_text(encoding="utf-8")
    table: dict[str, str] = yaml.safe_load(text)
    return tuple(
        Template(name, tuple(re.split(r"\{(\w+)\}", written))) for name, written in table.items()
    )


def chosen_templates(names: Sequence[str] | None, key: str) -> tuple[Template, ...]:
    """Return the templates with these names, in the table's order; None: all.

    Raises:
        ConfigError: no names, an unknown one, or one twice; `key` is named as what is wrong.
    """
    table = {template.name: template for template in all_templates()}
    if names is None:
        return tuple(table.values())
    for name in names:
        if name not in table:
            raise ConfigError(
                f"{key}: there is no template '{name}'.{nearest(name, table)} "
                f"There are: {', '.join(table)}."
            )
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{key}={list(names)}: name some templates, each once, or null for all.")
    return tuple(template for name, template in table.items() if name in names)
