"""The command line of a recipe: which recipe, where it begins, and what each step is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from marco.config import Sources, bind, compose, container
from marco.errors import ConfigError, nearest
from marco.training.recipe.settings import Recipe

#: Keys of the recipe's own that are no part of its YAML.
FROM, MODEL, DRY_RUN = "recipe.from", "recipe.model", "recipe.dry_run"
_OWN = (FROM, MODEL, DRY_RUN)


@dataclass(frozen=True)
class Request:
    """What a command line with ``recipe=…`` asks for.

    Attributes:
        name: the recipe's.
        shared: overrides for every step that trains.
        own: overrides of single steps, without the step's name.
        begin: the step to begin with; null is the first.
        model: what that step starts from.
        dry_run: only show the commands; what this machine must have is not asked.
    """

    name: str
    recipe: Recipe
    runs: Path
    shared: tuple[str, ...] = ()
    own: dict[str, list[str]] = field(default_factory=dict)
    begin: str | None = None
    model: str | None = None
    dry_run: bool = False


def recipe_name(overrides: Sequence[str]) -> str | None:
    """Return the recipe that a command line names, or None."""
    found = [text.partition("=")[2] for text in overrides if text.startswith("recipe=")]
    return found[-1] if found else None


def parse_request(overrides: Sequence[str], sources: Sources) -> Request:
    """Read a recipe and the command line that names it.

    ``sft.optimizer.lr=1e-5`` goes to the step ``sft``, ``recipe.…`` and ``paths.…`` to the recipe,
    everything else to all steps that train.

    Raises:
        ConfigError: an unknown recipe or step, or a key that cannot be read.
    """
    special = {key: text.partition("=")[2] for text in overrides for key in _OWN if _is(text, key)}
    rest = [text for text in overrides if not any(_is(text, key) for key in _OWN)]
    to_recipe = [text for text in rest if _top(text) in ("recipe", "paths", "hydra")]
    cfg = container(compose(to_recipe, sources=Sources(sources.tree, sources.extra, "recipe")))
    recipe: Recipe = bind(cfg["recipe"], "recipe")
    paths = bind(cfg["paths"], "paths")
    own: dict[str, list[str]] = {}
    shared = [text for text in rest if _top(text) == "paths"]
    for text in rest:
        if text in to_recipe:
            continue
        OverridesParser.create().parse_overrides([text])
        sign = text[: len(text) - len(text.lstrip("+~"))]
        step, dot, inner = text.removeprefix(sign).partition(".")
        if dot and step in recipe.steps:
            own.setdefault(step, []).append(sign + inner)
        else:
            shared.append(text)
    name = recipe_name(rest)
    assert name is not None
    begin = special.get(FROM)
    if begin is not None and begin not in recipe.steps:
        raise ConfigError(
            f"{FROM}={begin}: no step of recipe={name}.{nearest(begin, recipe.steps)} "
            f"It has: {', '.join(recipe.steps)}."
        )
    return Request(
        name,
        recipe,
        paths.runs_folder,
        tuple(shared),
        own,
        begin,
        special.get(MODEL),
        special.get(DRY_RUN, "false").lower() == "true",
    )


def _is(text: str, key: str) -> bool:
    return text.startswith(f"{key}=")


def _top(text: str) -> str:
    return text.lstrip("+~").partition("=")[0].partition(".")[0]
