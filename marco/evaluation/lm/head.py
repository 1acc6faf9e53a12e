"""The head where something is scored: a tile of the vocabulary at a time, its softmax as it goes.

A tile's logits are used up before the next are made, so they stay in the cache;
all 151,936 of a few tokens would be 78 MB, which the operating system has to find anew each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from marco.evaluation.lm.generate_products import packed
from marco.kernels.torch_path import native
from marco.kernels.torch_path.types import compute_type
from marco.models.fused_layers import is_plain

#: Tokens and rows of the head whose logits exist at once, by kind of device.
TOKENS = {"cpu": 1024, "cuda": 1024}
ROWS = {"cpu": 2048, "cuda": 32_768}
#: Tokens for which it pays on a CPU to bring the weights into its library's order.
ORDERED = 512
#: Tokens at once where the head is not a plain product, and gives all of its rows.
FEW_TOKENS = 128


def log_probabilities(
    head: Any, hidden: Tensor, targets: Tensor, limit: int | None
) -> tuple[Tensor, Tensor]:
    """Score what comes next.

    Args:
        head: of a language model, [tokens, hidden] → [tokens, rows].
        hidden: [tokens, hidden].
        targets: int64 [tokens].
        limit: rows from there on get no probability; None: all do.

    Returns:
        fp32 [tokens], the log-probability of each target in nats; bool [tokens], whether it is the
        likeliest (of equally likely ones, the first).
    """
    plain = isinstance(head, nn.Linear) and is_plain(head)
    size = TOKENS.get(hidden.device.type, FEW_TOKENS) if plain else FEW_TOKENS
    made = [
        _score(_tiles(head, some, limit) if plain else iter([head(some)[:, :limit]]), wanted)
        for some, wanted in zip(hidden.split(size), targets.split(size), strict=True)  # type: ignore[no-untyped-call]
    ]
    nats, same = zip(*made, strict=True)
    return torch.cat(nats), torch.cat(same)


def _tiles(head: Any, hidden: Tensor, limit: int | None) -> Iterator[Tensor]:
    """Logits of one part of the rows after the other."""
    kind = compute_type(hidden)
    weight, bias = head.weight[:limit], None if head.bias is None else head.bias[:limit]
    hidden, size = hidden.to(kind), ROWS.get(hidden.device.type, 2048)
    for start in range(0, len(weight), size):
        part = weight[start : start + size].to(kind)
        more = None if bias is None else bias[start : start + size].to(kind)
        # Ordered for each product anew, 1,000 tokens still take 12 % less than by a plain one.
        product = packed([part], more, len(hidden)) if len(hidden) >= ORDERED else None
        yield functional.linear(hidden, part, more) if product is None else product(hidden)


def _score(tiles: Iterator[Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
    """The logits are overwritten."""
    top = torch.full(targets.shape, -torch.inf, device=targets.device)
    chosen, sums = top.clone(), []
    same = torch.zeros_like(targets, dtype=torch.bool)
    start = 0
    for logits in tiles:
        rows = logits.shape[1]
        places = targets - start
        inside = (places >= 0) & (places < rows)
        found = logits.gather(1, places.clamp(0, rows - 1)[:, None])[:, 0].float()
        chosen = torch.where(inside, found, chosen)
        best = logits.amax(1).float()
        same &= best <= top
        likeliest = inside & (found == best) & (best > top)
        if likeliest.any():  # mostly none; the place of every maximum takes 5 % of the product
            same[likeliest] = logits[likeliest].argmax(1) == places[likeliest]
        top = torch.maximum(top, best)
        sums.append(_log_sum_exp(logits, best))
        start += rows
    return chosen - torch.stack(sums).logsumexp(0), same


def _log_sum_exp(logits: Tensor, top: Tensor) -> Tensor:
    """fp32 [tokens]; `top` is the largest of each. The logits are overwritten."""
    if not (native.fits(logits) and native.available()):
        return logits.float().sub_(top[:, None]).exp_().sum(1).log() + top
    tokens, rows = logits.shape
    losses, first = torch.empty_like(top), torch.zeros(tokens, dtype=torch.long)
    kind = native.is_bf16(logits)
    native.call("cross_entropy", logits, kind, tokens, rows, first, losses, None, 0.0, 0.0)
    return losses + logits[:, 0].float()
