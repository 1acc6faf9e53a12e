"""The fast scorer: log-probabilities of documents under the model being trained.

Documents are packed into rows like training's, so a sweep over many languages costs about what the
same number of tokens costs in a forward pass, and a score does not depend on what else is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from marco.evaluation.packing import Window, pack, windows

IGNORED = -100
#: Batch widths are rounded up to this, so that a compiled model meets few distinct shapes.
WIDTH = 64

Nats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Shard:
    """Which forwards this process runs: those of ``rank`` among ``size`` data-parallel ranks.

    ``size`` may be smaller than the number of processes (tensor parallelism: the processes of one
    data-parallel rank run the same forwards); it must divide it.
    """

    rank: int = 0
    size: int = 1


#: One process that scores everything itself.
ALONE = Shard()


def score_documents(
    model: nn.Module,
    documents: Sequence[Sequence[int]],
    end_of_text: int,
    max_tokens: int,
    *,
    row_length: int | None = None,
    overlap: int | None = None,
    shard: Shard = ALONE,
    progress: Progress | None = None,
) -> list[Nats]:
    """Score every token of every document, given ``end_of_text`` and the tokens before it.

    Args:
        model: ``forward(input_ids, position_ids, labels)``, each int64 [rows, tokens], returns
            float32 [rows, tokens] in nats; labels are already shifted, -100 is ignored, and
            position ids restart at every packed document.
        documents: text token ids, without the end-of-text token; an empty one scores nothing.
        end_of_text: the token every document is conditioned on first.
        max_tokens: tokens in one forward, over all its rows (there is always one row).
        row_length: tokens in a row (default: ``max_tokens``). Documents longer than that, and no
            others, are cut into windows. Use what the model was trained on.
        overlap: context that a later window of a cut document repeats, in tokens (default: half a
            row). Every token is scored exactly once.
        shard: this process's share of the forwards; the results are complete on every process.
        progress: called with (tokens done, tokens in all) after each forward of this process.

    Returns:
        For each document, -log p of its tokens in nats: float32 [tokens of the document].
    """
    return score_continuations(
        model,
        [((), document) for document in documents],
        end_of_text,
        max_tokens,
        row_length=row_length,
        overlap=overlap,
        shard=shard,
        progress=progress,
    )


def score_continuations(
    model: nn.Module,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    end_of_text: int,
    max_tokens: int,
    *,
    row_length: int | None = None,
    overlap: int | None = None,
    shard: Shard = ALONE,
    progress: Progress | None = None,
) -> list[Nats]:
    """Score the second part of every (prefix, continuation) pair of token ids, given the first.

    The arguments and the result are those of ``score_documents``; only the continuation's tokens
    are in the result.
    """
    row_length = row_length or max_tokens
    overlap = row_length // 2 if overlap is None else overlap
    if row_length < 1 or not 0 <= overlap < row_length:
        raise ValueError(f"rows of {row_length} tokens cannot overlap by {overlap}")
    texts = [[*prefix, *continuation] for prefix, continuation in pairs]
    pieces = [
        window
        for index, (prefix, _) in enumerate(pairs)
        for window in windows(index, len(texts[index]), row_length, overlap, len(prefix))
    ]
    batches = _batches(pack(pieces, row_length), max(1, max_tokens // row_length))
    offsets = np.cumsum([0, *(len(continuation) for _, continuation in pairs)])
    nats = np.zeros(int(offsets[-1]), dtype=np.float32)
    if batches:
        device = next(model.parameters()).device
        mine = _share(batches, shard)
        done = 0
        total = sum(piece.length for batch, _ in mine for row in batch for piece in row)
        with scoring_mode(model):
            for batch, counted in mine:
                losses = _forward(model, batch, texts, end_of_text, row_length, device)
                for row, line in zip(batch, losses, strict=True):
                    column = 0
                    for piece in row:
                        done += piece.length
                        if counted:
                            scored = line[column + piece.skip : column + piece.length]
                            prefix_length = len(pairs[piece.sequence][0])
                            first = piece.start + piece.skip - prefix_length
                            at = int(offsets[piece.sequence]) + first
                            nats[at : at + len(scored)] = scored
                        column += piece.length
                if progress is not None:
                    progress(done, total)
        nats = _gather(nats, shard, device)
    return [nats[start:end] for start, end in pairwise(offsets.tolist())]


def _batches(rows: list[list[Window]], size: int) -> list[list[list[Window]]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def _share(
    batches: list[list[list[Window]]], shard: Shard
) -> list[tuple[list[list[Window]], bool]]:
    """Return this rank's batches, and whether each counts.

    Every rank gets the same number, because a sharded model gathers its parameters in step: a rank
    that would have one too few repeats the last batch, uncounted.
    """
    per_rank = -(-len(batches) // shard.size)
    indices = [turn * shard.size + shard.rank for turn in range(per_rank)]
    return [(batches[min(index, len(batches) - 1)], index < len(batches)) for index in indices]


@contextmanager
def scoring_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's own mode is put back afterwards.

    Not ``inference_mode``: whatever a model makes on its first forward and keeps (FSDP2's gathered
    parameters, a kernel's buffers, cached rotary tables) would be an inference tensor for ever, and
    training after an evaluation at step 0 would fail.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _forward(
    model: nn.Module,
    batch: list[list[Window]],
    texts: list[list[int]],
    end_of_text: int,
    row_length: int,
    device: torch.device,
) -> Nats:
    longest = max(sum(piece.length for piece in row) for row in batch)
    width = min(row_length, -(-longest // WIDTH) * WIDTH)
    inputs = np.full((len(batch), width), end_of_text, dtype=np.int64)
    labels = np.full((len(batch), width), IGNORED, dtype=np.int64)
    # What is left of a row counts up from 0 as well: one more document, of which nothing is scored.
    positions = np.zeros((len(batch), width), dtype=np.int64)
    for r, row in enumerate(batch):
        column = 0
        for piece in row:
            text, end = texts[piece.sequence], piece.start + piece.length
            span = slice(column, column + piece.length)
            before = end_of_text if piece.start == 0 else text[piece.start - 1]
            inputs[r, span] = [before, *text[piece.start : end - 1]]
            labels[r, span] = text[piece.start : end]
            labels[r, column : column + piece.skip] = IGNORED
            positions[r, span] = np.arange(piece.length)
            column += piece.length
        positions[r, column:] = np.arange(width - column)
    tensors = [torch.from_numpy(array).to(device) for array in (inputs, positions, labels)]
    losses: Tensor = model(*tensors)
    scored: Nats = losses.float().cpu().numpy()
    return scored


def _gather(nats: Nats, shard: Shard, device: torch.device) -> Nats:
    """Add up what the ranks scored (each left zeros for the others)."""
    if shard.size == 1:
        return nats
    tensor = torch.from_numpy(nats).to(device)
    torch.distributed.all_reduce(tensor)
    replicas = torch.distributed.get_world_size() // shard.size
    summed: Nats = (tensor / replicas).cpu().numpy()
    return summed
