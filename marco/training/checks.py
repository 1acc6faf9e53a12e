"""Whether the groups of a config fit each other: asked before anything starts, without torch."""

from __future__ import annotations

import tempfile

from marco.config import RunSettings
from marco.errors import ConfigError


def check_run(run: RunSettings) -> None:
    """Raise ConfigError for a combination that cannot run, naming the keys.

    Each settings object has checked itself already; here are the questions that need two of them,
    or a look at the disk.
    """
    run.trainer.check()
    run.model.check()
    run.tokenizer.check()
    run.data.check()
    languages = run.data.language_codes()
    run.mix.check(languages)
    if run.evaluation is not None:
        run.evaluation.check(languages)
    run.batch.micro(run.trainer.devices)
    _check_window(run)
    _check_runs_folder(run)


def _check_window(run: RunSettings) -> None:
    longest = getattr(run.model, "max_position_embeddings", None)
    if longest is not None and run.batch.sequence_length > longest:
        raise ConfigError(
            f"batch.sequence_length={run.batch.sequence_length} is longer than "
            f"model.max_position_embeddings={longest}."
        )


def _check_runs_folder(run: RunSettings) -> None:
    runs = run.paths.runs_folder
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs):
            pass
    except OSError as error:
        raise ConfigError(f"paths.runs={run.paths.runs} cannot be written to: {error}") from error
