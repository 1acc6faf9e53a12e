"""What `marco evaluate` makes of one combination of its command line."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from marco.commands._results import loggers_of, open_results, place_of
from marco.config import Sources, bind_root, compose, container, resolved
from marco.config.evaluate import EvaluateSettings
from marco.errors import ConfigError, MarcoError
from marco.evaluation.history import Evaluation, read_history, write_history
from marco.evaluation.scoring import ALONE, Shard

if TYPE_CHECKING:
    from marco.data.settings import Data
    from marco.training.loading import Loaded

log = logging.getLogger(__name__)

TITLE = "title.txt"


@dataclasses.dataclass(frozen=True)
class Point:
    """One evaluation to make: its settings, its config for the folder, and its name."""

    settings: EvaluateSettings
    config: dict[str, Any]
    evaluation: str
    data: Data


def point_of(overrides: list[str], sources: Sources) -> Point:
    """Compose and check one combination, before any is begun. Raises MarcoError."""
    cfg = compose(overrides, sources=sources, with_hydra=True)
    chosen = str(cfg.hydra.runtime.choices.evaluation)
    plain = compose(overrides, sources=sources)
    settings = bind_root({"data": None, **container(plain)}, EvaluateSettings)
    settings.model.check()
    settings.kernels.check("cpu" if settings.model.device == "cpu" else "auto")
    _check_devices(settings)
    data = settings.data or settings.model.data()
    if data is None:
        udhr = compose([*overrides, "data=udhr"], sources=sources)
        data = bind_root(udhr, EvaluateSettings).data
    if settings.evaluation.needs_held_out:
        data.check()
        if not data.holds_out():
            raise ConfigError("The data holds nothing out to evaluate on: give data.held_out.")
    settings.evaluation.check(data.language_codes())
    return Point(settings, resolved(plain), chosen, data)


def _check_devices(settings: EvaluateSettings) -> None:
    if settings.devices > 1 and settings.model.device != "cpu":
        import torch

        there = torch.cuda.device_count()
        if 0 < there < settings.devices:
            raise ConfigError(f"devices={settings.devices}: this machine has {there} GPUs.")


def evaluate(point: Point) -> tuple[str, Evaluation]:
    """Load the model, measure, write and show it; returns its title and what was measured."""
    devices = point.settings.devices
    if devices == 1:
        return _evaluate(point, ALONE)
    from marco.training.launch import launch

    with TemporaryDirectory() as scratch:
        if launch(functools.partial(_on_rank, point), Path(scratch), devices):
            raise MarcoError(f"evaluation={point.evaluation} ended with an error.")
        (found,) = read_history(Path(scratch))
        return (Path(scratch) / TITLE).read_text(encoding="utf-8"), found


def _on_rank(point: Point, scratch: Path) -> int:
    """What every process of an evaluation on several devices does."""
    import torch

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    model = point.settings.model
    on_gpu = torch.cuda.is_available() and model.device != "cpu"
    if on_gpu:
        torch.cuda.set_device(rank)
        settings = dataclasses.replace(
            point.settings, model=dataclasses.replace(model, device=f"cuda:{rank}")
        )
        point = dataclasses.replace(point, settings=settings)
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        title, found = _evaluate(point, Shard(rank, size))
    finally:
        torch.distributed.destroy_process_group()
    if rank == 0:
        (scratch / TITLE).write_text(title, encoding="utf-8")
        write_history(scratch, [found])
    return 0


def _evaluate(point: Point, shard: Shard) -> tuple[str, Evaluation]:
    from marco.evaluation.results.table import Measured
    from marco.evaluation.standalone import CACHE, measure, publish
    from marco.training.allocator import keep_few_primitives, keep_pages

    keep_few_primitives()
    keep_pages()
    settings = point.settings
    loaded: Loaded = settings.model.load(settings.kernels)
    named = " · ".join([loaded.name, *([loaded.checkpoint] if loaded.checkpoint else [])])
    title = f"{named} · {point.evaluation}"
    place = place_of(settings.output, loaded.name, loaded.checkpoint)
    folder, logger = place, None
    if shard.rank == 0:
        folder = open_results(place, point.evaluation, settings.output, point.config)
        logger = settings.logger
    else:
        logging.getLogger().setLevel(logging.ERROR)
    sweep = dataclasses.replace(
        settings.evaluation,
        row_length=settings.evaluation.row_length or loaded.sequence_length,
    )
    experiment = loaded.name.partition("/")[0] if loaded.checkpoint else None
    with loggers_of(
        logger, folder, point.config, job_type="evaluate", title=title, experiment=experiment
    ) as loggers:
        found = measure(
            loaded.root,
            loaded.tokenizer,
            sweep,
            point.data.load(),
            Measured(loaded.name, loaded.checkpoint or "", loaded.tokens),
            folder,
            place / CACHE,
            step=loaded.step or 0,
            shard=shard,
        )
        publish(loggers, found, folder)
    if shard.rank == 0:
        _show(found, title, folder)
    return title, found


def _show(found: Evaluation, title: str, folder: Path) -> None:
    from marco.evaluation.matrix_table import matrix_tables
    from marco.evaluation.task_table import OPTIONAL, task_tables
    from marco.tracking.console import console

    for table in (*task_tables(found.rows, title), *matrix_tables(found.rows, title)):
        console().print(table)
    failed = [row for row in found.rows if row.subtask is None and row.metric not in OPTIONAL]
    for reason in dict.fromkeys(row.reason for row in failed):
        if reason:
            console().print(reason, style="yellow", soft_wrap=True, markup=False)
    console().print(f"Results: {folder}", soft_wrap=True)
