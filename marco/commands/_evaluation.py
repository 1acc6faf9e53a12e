"""What `marco evaluate` makes of one combination of its command line."""

from __future__ import annotations

import dataclasses
import logging
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marco.config import Sources, bind_root, compose, container, redact, resolved
from marco.config.evaluate import EvaluateSettings
from marco.errors import ConfigError
from marco.tracking.wandb_settings import Wandb

if TYPE_CHECKING:
    from marco.data.settings import Data
    from marco.evaluation.history import Evaluation
    from marco.training.loading import Loaded

log = logging.getLogger(__name__)


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


def evaluate(point: Point) -> tuple[str, Evaluation]:
    """Load the model, measure, write and show it; returns its title and what was measured."""
    from marco.evaluation.results.table import Measured
    from marco.evaluation.standalone import CACHE, measure, publish
    from marco.evaluation.task_table import OPTIONAL, task_tables
    from marco.tracking.console import console
    from marco.training.allocator import keep_pages
    from marco.training.log import set_up_logging

    keep_pages()
    settings = point.settings
    loaded: Loaded = settings.model.load(settings.kernels)
    parts = [*loaded.name.split("/"), *([loaded.checkpoint] if loaded.checkpoint else [])]
    place = Path(settings.output).expanduser().joinpath(*map(_folder_name, parts))
    folder = place / point.evaluation / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"output={settings.output} cannot be written to: {error}") from error
    set_up_logging(folder, 0)
    redact.write(redact.to_yaml(point.config), folder / "config.yaml")
    sweep = dataclasses.replace(
        settings.evaluation,
        row_length=settings.evaluation.row_length or loaded.sequence_length,
    )
    corpus = point.data.load()
    of = Measured(loaded.name, loaded.checkpoint or "", loaded.tokens)
    loggers = _loggers(point, loaded, folder)
    status = "failed"
    try:
        found = measure(
            loaded.root,
            loaded.tokenizer,
            sweep,
            corpus,
            of,
            folder,
            place / CACHE,
            step=loaded.step or 0,
        )
        publish(loggers, found)
        status = "success"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        for logger in loggers:
            if hasattr(logger, "finish"):
                logger.finish(status)
    title = " · ".join([loaded.name, *([loaded.checkpoint] if loaded.checkpoint else [])])
    for table in task_tables(found.rows, f"{title} · {point.evaluation}"):
        console().print(table)
    failed = [row for row in found.rows if row.subtask is None and row.metric not in OPTIONAL]
    for reason in dict.fromkeys(row.reason for row in failed):
        if reason:
            console().print(reason, style="yellow", soft_wrap=True, markup=False)
    console().print(f"Results: {folder}", soft_wrap=True)
    return f"{title} · {point.evaluation}", found


def _loggers(point: Point, loaded: Loaded, folder: Path) -> list[Any]:
    """The loggers of the config; in W&B a run's evaluations stand in its experiment's group."""
    logger = point.settings.logger
    if logger is None:
        return []
    if isinstance(logger, Wandb):
        what = [loaded.name, *([loaded.checkpoint] if loaded.checkpoint else []), point.evaluation]
        logger = dataclasses.replace(
            logger,
            job_type="evaluate",
            group=loaded.name.partition("/")[0] if loaded.checkpoint else logger.group,
            name=logger.name or " · ".join(what),
        )
    loggers: list[Any] = logger.build(folder, config=point.config)
    for each in loggers:
        if hasattr(each, "describe"):
            log.info("%s", each.describe())
    return loggers


def _folder_name(part: str) -> str:
    """Return a model's name, or a part of one, as a folder's: no way out, no surprises."""
    return re.sub(r"[^\w.+-]", "_", part).lstrip(".") or "model"
