"""What ``conf/recipe`` may say: the steps of a recipe, in their order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from marco.errors import ConfigError, nearest

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Attributes:
        do: ``train`` is train.py, the others are the ``marco`` commands of that name.
        overrides: its command line, but for the folder it writes and the model it starts from.
            ``{step}`` is an earlier step's folder.
        start: the step whose model it starts from; null is the last before it that made one.
            The first takes what its command line says.
    """

    do: Literal["train", "merge", "export", "evaluate"] = "train"
    overrides: list[str] = field(default_factory=list)
    start: str | None = None

    @property
    def makes_model(self) -> bool:
        """Whether a later step can start from what it leaves."""
        return self.do in ("train", "merge")

    def places(self) -> list[str]:
        """Return the steps that its overrides name."""
        return [name for text in self.overrides for name in _PLACE.findall(text)]


@dataclass(frozen=True)
class Recipe:
    """Steps that follow each other, by name.

    Raises:
        ConfigError: no step, a name that is none, or a step that names one that isn't before it.
    """

    steps: dict[str, Step]

    def __post_init__(self) -> None:
        if not self.steps:
            raise ConfigError("recipe.steps: empty; give at least one step.")
        before: list[str] = []
        for name, step in self.steps.items():
            where = f"recipe.steps.{name}"
            if not _NAME.fullmatch(name):
                raise ConfigError(f"{where}: a step's name is small letters, digits, _ and -.")
            named = [] if step.start is None else [step.start]
            for other in (*named, *step.places()):
                if other not in before:
                    raise ConfigError(
                        f"{where} names '{other}', which is no step before it."
                        f"{nearest(other, before)}"
                    )
            if step.start is not None and not self.steps[step.start].makes_model:
                raise ConfigError(f"{where}.start={step.start}: that step makes no model.")
            if step.do != "train" and not step.places() and self.source_of(name) is None:
                raise ConfigError(f"{where}: there is no model before it.")
            before.append(name)

    def source_of(self, name: str) -> str | None:
        """Return the step whose model a step starts from; None where there is none before it."""
        if self.steps[name].start is not None:
            return self.steps[name].start
        source = None
        for other, step in self.steps.items():
            if other == name:
                return source
            if step.makes_model:
                source = other
        raise KeyError(name)
