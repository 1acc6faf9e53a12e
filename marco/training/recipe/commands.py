"""The command of every step, as one could type it."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from marco.config import Sources, compose, quoted
from marco.errors import ConfigError, MarcoError
from marco.training.recipe.request import MODEL, Request

_COMMAND = "import sys; from marco.commands import main; sys.exit(main())"


@dataclass(frozen=True)
class Command:
    """A step, ready to be run.

    Attributes:
        arguments: those of train.py, or of the ``marco`` command ``do``.
        folder: what it writes.
    """

    name: str
    do: str
    arguments: tuple[str, ...]
    folder: Path

    def argv(self) -> list[str]:
        """Return the process to start, with this Python."""
        if self.do == "train":
            found = importlib.util.find_spec("train")
            assert found is not None
            assert found.origin is not None
            return [sys.executable, found.origin, *self.arguments]
        return [sys.executable, "-c", _COMMAND, self.do, *self.arguments]

    def __str__(self) -> str:
        program = "python train.py" if self.do == "train" else f"marco {self.do}"
        return f"{program} {shlex.join(self.arguments)}"


def written(place: Path) -> str:
    """Return a path as the value of an override, in quotes only where Hydra needs them."""
    return str(place) if re.fullmatch(r"[\w./+-]+", str(place), re.ASCII) else quoted(place)


def commands(request: Request, folder: Path, sources: Sources) -> list[Command]:
    """Return the commands of all steps from the one the request begins with.

    Raises:
        ConfigError: it begins with a step that needs a model, and none is named.
    """
    names = list(request.recipe.steps)
    todo = names[names.index(request.begin) if request.begin else 0 :]
    places = {name: folder / name for name in names}
    needed = request.begin is not None and request.recipe.source_of(todo[0]) is not None
    if needed and request.model is None:
        raise ConfigError(
            f"recipe.from={request.begin} needs the model it starts from: {MODEL}=<a run, or a "
            "folder of transformers>. To go on with a recipe that was stopped: resume=<its folder>."
        )
    if request.model is not None and not needed:
        raise ConfigError(f"{MODEL} is what recipe.from starts from; name that step.")
    if needed and request.model is not None:
        before = request.recipe.source_of(todo[0])
        assert before is not None
        places[before] = Path(request.model).expanduser().absolute()
    found = []
    for name in todo:
        with in_step(name, request.name):
            found.append(_command(request, name, places, sources))
    return found


@contextmanager
def in_step(name: str, recipe: str) -> Iterator[None]:
    """Let what is wrong inside say in which step it is."""
    try:
        yield
    except MarcoError as error:
        raise ConfigError(f"in step {name} of recipe={recipe}: {error}") from error


def _command(request: Request, name: str, places: dict[str, Path], sources: Sources) -> Command:
    step = request.recipe.steps[name]
    own = [text.format_map(places) if "{" in text else text for text in step.overrides]
    source = request.recipe.source_of(name)
    start = None if source is None else places[source]
    given = request.own.get(name, [])
    if step.do == "train":
        arguments = [*own, *request.shared, *given]
        choices = compose([*arguments, f"name={name}"], sources=sources, complete=False)
        if start is not None:
            arguments += _starting_from(start, choices)
        arguments += _tracked(choices, request.name, name)
        arguments.append(f"hydra.run.dir={written(places[name])}")
    elif step.do == "evaluate":
        beside = [text for text in request.shared if text.startswith(("logger=", "kernels="))]
        arguments = [*own, *beside, *given, f"output={written(places[name])}"]
        if start is not None:
            arguments.append(f"model.path={written(start)}")
    else:
        first = [] if start is None or step.do == "merge" else [str(start)]
        arguments = [*first, *own, *given, f"output={places[name]}"]
    return Command(name, step.do, tuple(arguments), places[name])


def _starting_from(start: Path, cfg: DictConfig) -> list[str]:
    """Overrides that give a run another's weights, and its vocabulary where that was made there."""
    found = ["model=pretrained", f"model.path={written(start)}"]
    if str(cfg.tokenizer._target_).endswith(".EmbeddedTokenizer"):
        found.append("tokenizer=pretrained")
    return found


def _tracked(cfg: DictConfig, recipe: str, name: str) -> list[str]:
    """Overrides that put all steps of a recipe into one W&B group, one run each."""
    if cfg.logger is None or "group" not in cfg.logger:
        return []
    return [f"logger.group={recipe}", f"logger.job_type={name}"]
