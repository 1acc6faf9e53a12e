"""One evaluation of one model, outside of training: measured, written, and gone on with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from marco.evaluation.heatmap_plot import heatmap
from marco.evaluation.history import Evaluation, to_frame
from marco.evaluation.lm.cache import RequestCache, model_hash
from marco.evaluation.progress import ProgressBar
from marco.evaluation.results.folder import write_evaluation
from marco.evaluation.results.table import Measured
from marco.evaluation.scalars import directions, scalars
from marco.evaluation.scoring import ALONE, Shard
from marco.evaluation.sweep import EvaluationSweep
from marco.tracking.directions import set_directions
from marco.tracking.media import log_image, log_table

if TYPE_CHECKING:
    from marco.data.documents import Corpus
    from marco.evaluation.settings import SweepSettings
    from marco.objectives.causal_lm import CausalLanguageModel
    from marco.tokenizers import Tokenizer

log = logging.getLogger(__name__)

CACHE = "responses.jsonl"
HEATMAP = "heatmap.png"


def measure(
    root: CausalLanguageModel,
    tokenizer: Tokenizer,
    settings: SweepSettings,
    corpus: Corpus,
    of: Measured,
    folder: Path,
    cache: Path,
    step: int = 0,
    shard: Shard = ALONE,
) -> Evaluation:
    """Evaluate a model and write what was measured into a folder.

    What ``cache`` holds of the same weights is not asked again: an evaluation that was interrupted
    goes on where it was. A full disk costs the files and not the evaluation.

    Args:
        root: the model.
        tokenizer: its vocabulary.
        settings: what is measured.
        corpus: its held-out text; may be empty where nothing is measured on it.
        of: what the results are of.
        folder: for the results.
        cache: a file for the model's responses.
        step: optimizer steps of the checkpoint.
        shard: this process's share of the work; the first one writes.
    """
    sweep = EvaluationSweep(settings, tokenizer, corpus)
    network = root.network
    how = (tokenizer.fingerprint, str(root.vocabulary_limit), network.config.to_json_string())
    known = RequestCache(cache, model_hash(network, *how), shard.rank)
    if shard.size > 1:
        torch.distributed.barrier()  # all have read before one writes
    if shard.rank:
        rows = sweep.run(root, shard=shard, cache=known)
        return Evaluation(step, of.tokens or 0, tuple(rows))
    with ProgressBar() as bar:
        rows = sweep.run(root, shard=shard, progress=bar, cache=known)
    if known.hits:
        log.info("%d responses were known from before (%s).", known.hits, cache)
    evaluation = Evaluation(step, of.tokens or 0, tuple(rows))
    try:
        write_evaluation(folder, rows, sweep.items, of)
        heatmap(folder / HEATMAP, [evaluation])
    except OSError as error:
        log.warning("The results could not be written whole: %s", error)
    return evaluation


def publish(loggers: Sequence[Any], evaluation: Evaluation, folder: Path) -> None:
    """Give an evaluation to loggers: its scalars, the table of its rows, and its heat map."""
    at = {"step": evaluation.step, "tokens": evaluation.tokens}
    set_directions(loggers, directions(evaluation))
    for logger in loggers:
        logger.log_metrics({"tokens": evaluation.tokens, **scalars(evaluation)}, evaluation.step)
    log_table(loggers, "eval/table", to_frame([evaluation]), **at)
    if (folder / HEATMAP).is_file():
        log_image(loggers, "eval/heatmap", folder / HEATMAP, **at)
