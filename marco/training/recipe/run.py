"""Running a recipe: what is done is kept, what was broken off goes on, the rest follows."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig

from marco.config import RunSettings, Sources, bind_all, bind_root, compose, container
from marco.config.evaluate import EvaluateSettings
from marco.tracking.console import console
from marco.training.checkpoint import checkpoints
from marco.training.checks import check_settings
from marco.training.folder import resume_hint
from marco.training.recipe.commands import Command, commands, in_step, written
from marco.training.recipe.process import locked, run_step
from marco.training.recipe.request import Request, parse_request
from marco.training.recipe.state import State, load_state
from marco.training.recipe.summary import finish


def start(overrides: Sequence[str], sources: Sources, check: Callable[[RunSettings], None]) -> int:
    """Check a recipe whole, then run it; returns the exit code.

    Raises:
        MarcoError: anything that can be known to be wrong before the first step begins.
    """
    request = parse_request(overrides, sources)
    folder = _new_folder(request)
    todo = commands(request, folder, sources)
    _check(request, todo, sources, check_settings if request.dry_run else check)
    if request.dry_run:
        for command in todo:
            console().print(str(command), soft_wrap=True, markup=False)
        return 0
    state = State(folder, request.name, todo)
    state.save()
    return _run(state)


def resume(folder: Path) -> int:
    """Go on with the recipe in a folder; returns the exit code."""
    return _run(load_state(folder))


def _new_folder(request: Request) -> Path:
    at = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    return (request.runs / request.name / at).absolute()


def _run(state: State) -> int:
    with locked(state.folder) as lock:
        for number, command in enumerate(state.commands, 1):
            title = f"{number} of {len(state.commands)}: {command.name}"
            if state.finished(command):
                console().print(f"{title} is done: {command.folder}", soft_wrap=True)
                continue
            console().rule(title, align="left")
            began = time.perf_counter()
            code = run_step(_ready(command), lock)
            if code:
                _say_how_to_go_on(state, command, code)
                return code
            state.seconds[command.name] = time.perf_counter() - began
            state.save()
    console().print(finish(state))
    console().print(f"Results: {state.folder}", soft_wrap=True)
    return 0


def _ready(command: Command) -> list[str]:
    """Return the process to start; a run that has a checkpoint goes on from it.

    What a step without one left behind is removed: it begins anew.
    """
    if command.do == "train" and checkpoints(command.folder / "checkpoints"):
        return replace(command, arguments=(f"resume={written(command.folder)}",)).argv()
    if command.folder.is_dir():
        shutil.rmtree(command.folder)
    return command.argv()


def _say_how_to_go_on(state: State, command: Command, code: int) -> None:
    what = "was interrupted" if code > 128 else "failed"
    console().print(f"The step {command.name} {what}: {command}", soft_wrap=True, markup=False)
    hint = f"Go on with: python train.py {resume_hint(state.folder)}"
    console().print(hint, soft_wrap=True, markup=False)


def _check(
    request: Request,
    todo: Sequence[Command],
    sources: Sources,
    check: Callable[[RunSettings], None],
) -> None:
    """Compose and check every step; one that starts from a model to come, with that model's shape.

    Raises:
        ConfigError: naming the step.
    """
    first: DictConfig | None = None
    for command in todo:
        with in_step(command.name, request.name):
            if command.do == "train":
                cfg = compose(list(command.arguments), sources=sources)
                if first is None:
                    first = cfg
                elif not Path(str(cfg.model.path)).exists():
                    _stand_in(cfg, first)
                check(bind_all(cfg))
            elif command.do == "evaluate":
                evaluate = Sources(sources.tree, sources.extra, "evaluate")
                cfg = compose(list(command.arguments), sources=evaluate)
                bind_root({"data": None, **container(cfg)}, EvaluateSettings)


def _stand_in(cfg: DictConfig, first: DictConfig) -> None:
    """Give a step whose model is to come the first one's shape and vocabulary, to be checked with.

    A vocabulary that will be made of the first step's text is not there either: another will do.
    """
    cfg.model, cfg.tokenizer = copy.deepcopy(first.model), first.tokenizer
    if str(first.tokenizer._target_).endswith(".EmbeddedTokenizer"):
        cfg.tokenizer = {"_target_": "marco.tokenizers.qwen2.QwenTokenizer"}
        cfg.model.vocab_size = None
