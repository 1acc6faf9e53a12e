"""One process' part of a run: build, go on from a checkpoint, fit, sum up."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from marco.config import RunSettings, load_config, resolved
from marco.errors import CheckpointError
from marco.mixing.raised import Raise
from marco.run_folder import MODEL, TOKENIZER
from marco.tracking.console import console
from marco.tracking.devices import machine
from marco.training.allocator import keep_few_primitives, keep_pages
from marco.training.assemble import build_loader, build_module, choose, read_text
from marco.training.branch import Branch
from marco.training.checkpoint import latest
from marco.training.checkpoints.files import read_json
from marco.training.context import MixChanged, RunContext
from marco.training.finish import finish, report
from marco.training.folder import resume_hint
from marco.training.interrupts import InterruptHandlers
from marco.training.log import set_up_logging
from marco.training.track import tell_data, tell_end, tell_failure

log = logging.getLogger(__name__)


def fit(run: RunSettings, folder: Path) -> int:
    """Train, evaluate, and write the summary; returns the exit code.

    The run continues from the newest sound checkpoint where `run.resume` is set.

    Raises:
        MarcoError: text, checkpoint or training that cannot go on.
    """
    while True:
        try:
            return _fit(run, folder)
        except MixChanged:
            run = replace(run, resume=str(folder))


def _fit(run: RunSettings, folder: Path) -> int:
    rank = int(os.environ.get("RANK", "0"))
    set_up_logging(folder, rank)
    keep_few_primitives()
    if run.trainer.keep_pages:
        keep_pages()
    path, progress = _resumed(run, folder)
    branch = Branch.of(run) if run.branch is not None and path is None else None
    choices = choose(run, progress.get("choices", {}))
    torch.set_num_threads(choices["threads"])
    pl.seed_everything(run.seed, verbose=False)

    changes = [
        Raise(each["at"], tuple(each["sources"]), each["share"])
        for each in progress.get("mix_changes", [])
    ]
    text = read_text(run, changes)
    context = RunContext(
        folder=folder,
        config=resolved(load_config(folder)),
        tokenizer_fingerprint=text.tokenizer.fingerprint,
        corpus_fingerprint=text.fingerprint(),
        resume_from=path,
        mix_changes=changes,
        branch_from=None if branch is None else branch.checkpoint,
        choices=choices,
    )
    if path is not None and progress["corpus"] != context.corpus_fingerprint:
        raise CheckpointError(
            f"The text is not the one that '{folder}' was trained on (data, or the files it names, "
            "has changed). Put it back, or start a new run."
        )
    if rank == 0:
        text.tokenizer.save(folder / TOKENIZER)
    module = build_module(run, text, context)
    if rank == 0:
        module.model.network.config.save_pretrained(folder / MODEL)
    if path is not None:
        module.restore_progress(progress)
        log.info("Resuming at step %d of %d from %s.", module.step, module.total_steps, path.name)
    if branch is not None:
        branch.begin(module, run, text)
    if run.evaluation is not None:
        context.sweep = run.evaluation.prepare(text.tokenizer, text.corpus)
    callbacks = [node.create(pl.Callback) for node in run.callbacks.values()]
    callbacks.insert(0, InterruptHandlers(context.interrupt))
    for callback in callbacks:
        if callback.state_key in progress.get("callbacks", {}):
            callback.load_state_dict(progress["callbacks"][callback.state_key])
        if hasattr(callback, "attach"):
            callback.attach(context.sweep, folder)
    loggers = _loggers(run, context, progress)
    status = "failed"
    try:
        for logger in loggers:
            if hasattr(logger, "describe"):
                log.info("%s", logger.describe())
        tell_data(loggers, context, text)
        trainer = run.trainer.lightning(module.cut.accumulation, callbacks, loggers, folder)
        device = trainer.strategy.root_device
        log.info("Machine: %s.", machine(device, trainer.world_size, choices["threads"]))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            trainer.fit(module, build_loader(run, text, module))
        if module.interrupted:
            status = "interrupted"
            if rank == 0 and context.checkpoints.is_dir():
                hint = f"Go on with: python train.py {resume_hint(folder)}"
                console().print(hint, soft_wrap=True)
            if rank == 0:
                report(folder)
            return context.interrupt.exit_code
        if rank == 0 and context.given_up:
            report(folder)
        elif rank == 0:
            tell_end(loggers, module, finish(module, callbacks))
        status = "success"
        return 0
    except MixChanged:
        status = "interrupted"
        raise
    except Exception as error:
        tell_failure(loggers, context, error)
        if rank == 0:
            report(folder)
        raise
    finally:
        for logger in loggers:
            if hasattr(logger, "finish"):
                logger.finish(status)


def _resumed(run: RunSettings, folder: Path) -> tuple[Path | None, dict[str, Any]]:
    if run.resume is None:
        return None, {}
    path = latest(folder / "checkpoints")
    if path is None:
        raise CheckpointError(f"{folder / 'checkpoints'} holds no sound checkpoint.")
    progress: dict[str, Any] = read_json(path / "progress.json")
    return path, progress


def _loggers(run: RunSettings, context: RunContext, progress: dict[str, Any]) -> list[Any]:
    if run.logger is None:
        return []
    loggers: list[Any] = run.logger.build(
        context.folder,
        config=context.config,
        run_id=progress.get("wandb_run_id"),
        resumed_step=progress.get("step"),
    )
    return loggers
