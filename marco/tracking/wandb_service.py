"""The calls into wandb that start and end a run. They may raise anything and may hang."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil

from marco.tracking.wandb_mode import Mode
from marco.tracking.wandb_settings import Wandb

# A command line carries a secret when an override or option is called like one.
SECRET = re.compile(r"(api_?key|token|secret|passw(or)?d|credential)s?\s*=\s*\S", re.IGNORECASE)
STEP_METRIC = "tokens"
METRICS = ("train/*", "eval/*", "data/*")


def open_run(
    settings: Wandb,
    folder: Path,
    *,
    mode: Mode,
    run_id: str,
    resume: bool,
    config: Mapping[str, Any],
    from_scratch: bool,
) -> Any:
    """Start a W&B run of its own, whatever else this process logged, and return it.

    Args:
        settings: project, names, tags, timeouts.
        folder: the run folder; W&B writes to ``<folder>/wandb``.
        mode: online or offline.
        run_id: W&B's id of the run.
        resume: whether the run exists already and is continued.
        config: shown as the run's configuration; no secrets in it.
        from_scratch: start a new service that sees no ``WANDB_*`` variable: the second attempt,
            after one that a misconfigured environment may have spoiled.
    """
    import wandb

    # it logs every step of its start at INFO; its own debug.log keeps that
    logging.getLogger("wandb").propagate = False
    known = wandb.Settings.model_fields
    options: dict[str, Any] = {
        "console": "off",  # log.txt holds the output; capturing breaks the progress bar
        "quiet": True,
        "save_code": False,
        "silent": True,  # also: never ask for a key at a terminal
        "init_timeout": settings.init_timeout,
        "finish_timeout": settings.finish_timeout,
        # W&B uploads the command line as it is, and the packages we name ourselves
        "x_disable_meta": _has_secret(sys.argv[1:]),
        "x_save_requirements": False,
    }
    options = {key: value for key, value in options.items() if key in known}
    with _without_variables() if from_scratch else nullcontext():
        if from_scratch:
            wandb.teardown()
        # the settings of the process decide about prompts and messages before a run exists
        wandb.setup(wandb.Settings(silent=True, quiet=True))
        run = _init(
            folder / "wandb",
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            job_type=settings.job_type,
            tags=settings.tags,
            name=settings.name or folder.name,
            notes=settings.notes,
            id=run_id,
            resume="allow" if resume and mode == "online" else None,
            dir=str(folder),
            config=dict(config),
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(**options),
        )
    run.define_metric(STEP_METRIC)
    for metrics in METRICS:
        run.define_metric(metrics, step_metric=STEP_METRIC)
    return run


def close_run(run: Any, *, exit_code: int, from_scratch: bool) -> None:
    """Finish ``run``, waiting for its upload as long as its settings say."""
    import wandb

    run.finish(exit_code=exit_code)
    if from_scratch:  # its service knows nothing of the environment: the next run gets its own
        wandb.teardown()


def kill_service() -> None:
    """End this process's W&B service when it stopped answering.

    Without this the process would wait for it at exit. What was logged is in the run's file as
    far as the service wrote it.
    """
    for child in psutil.Process().children():
        try:
            if child.name().startswith("wandb-core"):
                child.kill()
        except psutil.Error:
            continue  # ended by itself


def forget_service() -> None:
    """Drop what this process knows of a service that was killed: exit would stumble over it."""
    import wandb

    wandb.teardown()


def _init(files: Path, **arguments: Any) -> Any:
    """Call ``wandb.init``; when it fails, remove the half-made run it leaves in ``files``.

    With the run that is then started offline there would be two of one id.
    """
    import wandb

    before = set(files.glob("run-*"))
    try:
        return wandb.init(**arguments)
    except BaseException:
        for left in set(files.glob("run-*")) - before:
            shutil.rmtree(left, ignore_errors=True)
        raise


def _has_secret(arguments: Sequence[str]) -> bool:
    return any(SECRET.search(argument) for argument in arguments)


@contextmanager
def _without_variables() -> Iterator[None]:
    taken = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("WANDB_")}
    try:
        yield
    finally:
        for key, value in taken.items():
            if key != "WANDB_SERVICE":  # names the service that was just ended
                os.environ[key] = value
