"""Whether the groups of a config fit each other: asked before anything starts, without torch."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from marco.config import RunSettings
from marco.config.branch import parent_of
from marco.data.documents import Corpus
from marco.errors import CheckpointError, ConfigError
from marco.tokenizers.embedded import NO_TEXT, EmbeddedTokenizer
from marco.training.checkpoints.manifest import read_manifest


def check_run(run: RunSettings) -> None:
    """Raise ConfigError for a combination that cannot run, naming the keys.

    Each settings object has checked itself already; here are the questions that need two of them,
    or a look at the disk.
    """
    run.trainer.check()
    run.kernels.check(run.trainer.accelerator)
    run.data.check()
    check_settings(run)
    # An own vocabulary is made of the run's text; it is known when that is read.
    if not isinstance(run.tokenizer, EmbeddedTokenizer):
        run.data.check_tokenizer(functools.cache(lambda: run.tokenizer.load(Corpus({}, {}))))
    if run.branch is not None and run.resume is None:
        parent_of(run.branch)
    _check_runs_folder(run)


def check_settings(run: RunSettings) -> None:
    """As `check_run`, but for what this machine must have: what a plan asks."""
    run.model.check()
    run.tokenizer.check()
    if run.adapter is not None:
        run.adapter.check()
    run.mix.check(run.data.source_names())
    run.mix.check_budget(run.tokens)
    if run.evaluation is not None:
        if run.evaluation.needs_held_out and not run.data.holds_out():
            raise ConfigError(
                "The data holds nothing out to evaluate on: give data.held_out, such as the "
                "data=udhr text, or evaluation=none."
            )
        if run.evaluation.enabled:
            run.evaluation.check(run.data.language_codes())
    run.batch.micro(run.trainer.devices)
    _check_vocabulary(run)
    _check_window(run)
    _check_pairs(run)
    _check_budget(run)


def _check_vocabulary(run: RunSettings) -> None:
    """Ask only what is known beforehand: a hub's model, or a text's own vocabulary, is not."""
    if isinstance(run.tokenizer, EmbeddedTokenizer) and not run.data.gives_text():
        raise ConfigError(NO_TEXT)
    rows, entries = run.model.vocabulary_rows(), run.tokenizer.least_entries()
    if rows is not None and entries is not None and rows < entries:
        raise ConfigError(
            f"The model's embedding has {rows} rows, too few for the tokenizer's {entries} entries "
            "(model.vocab_size=null fits a new model to its tokenizer)."
        )


def _check_budget(run: RunSettings) -> None:
    if run.resume is None:
        return
    spent = 0
    for path in Path(run.resume, "checkpoints").glob("step-*"):
        try:
            spent = max(spent, read_manifest(path).tokens)
        except CheckpointError:  # said when it is read
            continue
    if run.tokens // run.batch.tokens * run.batch.tokens < spent:
        raise ConfigError(
            f"tokens={run.tokens} is less than this run has already been trained on: {spent}."
        )


def _check_window(run: RunSettings) -> None:
    longest = getattr(run.model, "max_position_embeddings", None)
    if longest is not None and run.batch.sequence_length > longest:
        raise ConfigError(
            f"batch.sequence_length={run.batch.sequence_length} is longer than "
            f"model.max_position_embeddings={longest}."
        )


def _check_pairs(run: RunSettings) -> None:
    pairs = run.data.gives_pairs()
    if pairs != run.objective.pairs:
        raise ConfigError(
            "The data is pairs of answers: choose objective=dpo, ipo, orpo or simpo."
            if pairs
            else "The objective compares two answers, and the data has only one: choose "
            "data=preference (your own pairs) or data=preference_embedded."
        )
    if not pairs:
        return
    if run.batch.packing != "best_fit":
        raise ConfigError(
            f"batch.packing={run.batch.packing} would cut pairs of answers: say best_fit."
        )
    if run.data.max_tokens > run.batch.sequence_length:
        raise ConfigError(
            f"data.max_tokens={run.data.max_tokens}: a pair lies in one sequence, so at most "
            f"batch.sequence_length={run.batch.sequence_length}."
        )


def _check_runs_folder(run: RunSettings) -> None:
    runs = run.paths.runs_folder
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs):
            pass
    except OSError as error:
        raise ConfigError(f"paths.runs={run.paths.runs} cannot be written to: {error}") from error
