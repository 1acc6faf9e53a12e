"""The calls into wandb that start and end a run. They may raise anything and may hang."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from marco.config.redact import redact_overrides
from marco.tracking.wandb_metrics import STEP_METRIC
from marco.tracking.wandb_mode import Mode
from marco.tracking.wandb_settings import Wandb

if TYPE_CHECKING:
    import pandas as pd
    import wandb
    from PIL.Image import Image


def online_runs(folder: Path) -> set[Path]:
    """Return the folders of the runs that were logged online from a run folder."""
    return set((folder / "wandb").glob("run-*"))


def open_run(
    settings: Wandb,
    folder: Path,
    *,
    mode: Mode,
    run_id: str,
    resume: bool,
    config: Mapping[str, Any],
    from_scratch: bool,
    earlier: Set[Path],
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
        earlier: ``online_runs`` of the folder before the first attempt; what a failed attempt
            added to them is removed.
    """
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    known = wandb.Settings.model_fields
    options: dict[str, Any] = {
        "console": "off",  # log.txt holds the output; capturing breaks the progress bar
        "quiet": True,
        "save_code": False,
        "silent": True,  # also: never ask for a key at a terminal
        "init_timeout": settings.init_timeout,
        "finish_timeout": settings.finish_timeout,
        # W&B uploads the command line as it is; the packages are named in the config
        "x_disable_meta": redact_overrides(sys.argv[1:]) != sys.argv[1:],
        "x_save_requirements": False,
    }
    options = {key: value for key, value in options.items() if key in known}
    with _without_variables() if from_scratch else nullcontext():
        if from_scratch:
            wandb.teardown()
            # beside the offline run it would look like a second run of the same id
            for left in online_runs(folder) - earlier:
                shutil.rmtree(left, ignore_errors=True)
        # the settings of the process decide about prompts and messages before a run exists
        wandb.setup(wandb.Settings(silent=True, quiet=True))
        run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            job_type=settings.job_type,
            tags=settings.tags,
            name=settings.name or _name_of(folder),
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
    return run


def _name_of(folder: Path) -> str:
    """A run's folder; of a sweep's run, which is a number alone, the sweep's as well."""
    in_sweep = (folder.parent / "multirun.yaml").is_file()
    return f"{folder.parent.name}/{folder.name}" if in_sweep else folder.name


def log_table(
    run: Any, key: str, frame: pd.DataFrame, *, step: int, tokens: int, folder: Path
) -> None:
    """Log ``frame`` as a table whose file stays in the run folder until it is uploaded.

    The columns' types are those of the frame, and every value may be missing. Left to itself, W&B
    takes them from the values: a column that is empty in one run would have another type there,
    and the tables of several runs would not merge.
    """
    with data_inside(folder):
        run.log({key: table_of(frame), STEP_METRIC: tokens}, step=step)


def table_of(frame: pd.DataFrame) -> wandb.Table:
    """Return a frame as a W&B table, whose columns have one type each."""
    import wandb

    types: dict[str, Any] = {name: _cell_type(frame[name].dtype) for name in frame.columns}
    data = [
        [_cell(value, kind) for value, kind in zip(row, types.values(), strict=True)]
        for row in frame.itertuples(index=False, name=None)
    ]
    return wandb.Table(list(types), data, dtype=list(types.values()), optional=True)


def _cell_type(dtype: Any) -> type[bool] | type[float] | type[str]:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_bool_dtype(dtype):
        return bool
    return float if is_numeric_dtype(dtype) else str


def _cell(value: Any, kind: type[bool] | type[float] | type[str]) -> bool | float | str | None:
    import pandas as pd

    if pd.isna(value):
        return None
    plain = value.item() if hasattr(value, "item") else value
    return str(plain) if kind is str else plain


@contextmanager
def data_inside(folder: Path) -> Iterator[None]:
    """Keep what wandb stages for an upload in the run folder.

    W&B would keep it in the user's home: an offline run could not be moved, and a home that
    cannot be written (a cluster's) would cost the data.
    """
    with _variable("WANDB_DATA_DIR", str(folder / "wandb" / "data")):
        yield


def log_image(run: Any, key: str, image: Image, *, step: int, tokens: int) -> None:
    """Log a picture."""
    import wandb

    run.log({key: wandb.Image(image), STEP_METRIC: tokens}, step=step)


def log_html(run: Any, key: str, page: Path, *, step: int, tokens: int) -> None:
    """Log a page that needs no other file."""
    import wandb

    run.log({key: wandb.Html(page, inject=False), STEP_METRIC: tokens}, step=step)


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


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _without_variables() -> Iterator[None]:
    taken = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("WANDB_")}
    try:
        yield
    finally:
        for key, value in taken.items():
            if key != "WANDB_SERVICE":  # names the service that was just ended
                os.environ[key] = value
