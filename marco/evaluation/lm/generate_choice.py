"""Which token comes next: the likeliest, or one that is drawn."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from marco.errors import CheckpointError
from marco.evaluation.lm.generate_settings import GenerationSettings


def choose(logits: Tensor, settings: GenerationSettings, draws: Sequence[float]) -> Tensor:
    """Return the next token of every row, int64 [rows].

    Args:
        logits: fp32 [rows, vocabulary].
        settings: what may be drawn, or that nothing is.
        draws: one number in [0, 1) a row, where tokens are drawn.

    Raises:
        CheckpointError: logits are no numbers; a token chosen among such looks like any other.
    """
    if not settings.samples:
        best = logits.argmax(-1, keepdim=True)
        _check_numbers(logits.gather(-1, best))  # argmax takes NaN for the greatest
        return best[:, 0]
    scores, ids = logits / settings.temperature, None
    width = scores.shape[-1]
    if settings.top_k is not None and settings.top_k < width:
        scores, ids = scores.topk(settings.top_k, dim=-1)
    elif settings.top_p < 1:
        scores, ids = scores.sort(dim=-1, descending=True, stable=True)
    probs = scores.double().softmax(-1)
    if settings.top_p < 1:
        before = probs.cumsum(-1) - probs
        allowed = before < settings.top_p
        allowed[:, 0] = True
        probs = probs * allowed
    if settings.min_p > 0:
        probs = probs * (probs >= settings.min_p * probs.max(-1, keepdim=True).values)
    sums = probs.cumsum(-1)
    _check_numbers(sums[:, -1])
    drawn = torch.tensor(draws, dtype=sums.dtype, device=sums.device)[:, None] * sums[:, -1:]
    places = torch.searchsorted(sums, drawn, right=True)
    # A draw that rounds up to the whole sum belongs to the last that has any probability.
    last = torch.searchsorted(sums, sums[:, -1:].contiguous())
    places = torch.minimum(places, last)
    return (places if ids is None else ids.gather(-1, places))[:, 0]


def _check_numbers(found: Tensor) -> None:
    if found.isnan().any():
        raise CheckpointError("The model's logits are not numbers: its weights are damaged.")


def penalise(logits: Tensor, seen: Sequence[Tensor], penalty: float) -> None:
    """Make the tokens that each row has seen less likely, in place (arXiv 1909.05858)."""
    for row, ids in zip(logits, seen, strict=True):
        scores = row[ids]
        row[ids] = torch.where(scores < 0, scores * penalty, scores / penalty)


def generators(prompts: Sequence[Sequence[int]], seed: int) -> list[np.random.Generator]:
    """Return each prompt's own source of draws; equal prompts have different ones."""
    count: Counter[bytes] = Counter()
    made = []
    for prompt in prompts:
        content = np.asarray(prompt, np.int64).tobytes()
        key = hashlib.sha256(f"{seed} {count[content]} ".encode() + content).digest()
        count[content] += 1
        philox = np.random.Philox(key=int.from_bytes(key[:16], "little"))
        made.append(np.random.Generator(philox))
    return made
