"""Linear cross-entropy in plain torch: chunks of tokens, one softmax in place, fp32 sums.

A chunk's logits are made, turned into their own gradient where they lie, and used up. Where the
factor that every loss will be multiplied by is known beforehand this happens in the forward (three
products); otherwise the backward makes the logits again (four).
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from marco.kernels.torch_path import native
from marco.kernels.torch_path.embedding import Tie
from marco.kernels.torch_path.types import compute_type

CHUNK_ELEMENTS = 1 << 23  # logits of a chunk; a head of no more is cast once, whole
LEAST_TOKENS = 256  # fewer a chunk, and adding up the weight gradient costs more than it saves
BLOCK_ELEMENTS = 1 << 19  # of a chunk at a time in fp32: 2 MB, which a core's cache holds
TILE_ROWS = 1024  # of the head at a time: its cast copy stays in the cache


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    z_loss: float,
    label_smoothing: float,
    limit: int | None,
    upstream: float | None,
    tie: Tie | None,
) -> Tensor:
    """Losses [tokens] fp32 (float64 for float64); see `marco.kernels.linear_cross_entropy`."""
    rows = weight.shape[0] if limit is None else limit
    dtype = compute_type(hidden)
    hidden = hidden.to(dtype)
    if tie is not None:
        weight = tie.head(weight)
    settings = (z_loss, label_smoothing, rows)
    grad = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    if upstream is not None and grad and not torch.compiler.is_compiling():
        made: Tensor = _WithGradients.apply(hidden, weight, targets, *settings, upstream)  # type: ignore[no-untyped-call]
    else:
        made = _losses(hidden, weight, targets, *settings)
    return made


def chunk_tokens(tokens: int, rows: int) -> int:
    """Tokens whose logits exist at once: never all of them, unless they are few."""
    return max(LEAST_TOKENS, min(CHUNK_ELEMENTS // rows, tokens // 4))


@torch.library.custom_op("marco::linear_cross_entropy_torch", mutates_args=())
def _losses(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    label_smoothing: float,
    rows: int,
) -> Tensor:
    return _run(hidden, weight, targets, z_loss, label_smoothing, rows, None)[0]


@torch.library.custom_op("marco::linear_cross_entropy_torch_backward", mutates_args=())
def _gradients(
    upstream: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    label_smoothing: float,
    rows: int,
    need_weight: bool = True,
) -> tuple[Tensor, Tensor]:
    settings = (z_loss, label_smoothing, rows)
    made = _run(hidden, weight, targets, *settings, upstream, need_weight)
    return made[1], made[2]


@_losses.register_fake
def _(hidden: Tensor, *args: Any) -> Tensor:
    return hidden.new_empty(hidden.shape[0], dtype=_sums(hidden.dtype))


@_gradients.register_fake
def _(
    upstream: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    label_smoothing: float,
    rows: int,
    need_weight: bool = True,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(hidden), weight.new_empty(weight.shape if need_weight else 0)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.settings = inputs[3:]
    ctx.native = native.wanted()


def _backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    gradients = native.on(_gradients) if ctx.native else _gradients
    need_weight = ctx.needs_input_grad[1]
    hidden, weight = gradients(upstream, *ctx.saved_tensors, *ctx.settings, need_weight)
    return hidden, weight if need_weight else None, None, None, None, None


_losses.register_autograd(_backward, setup_context=_remember)


class _WithGradients(torch.autograd.Function):
    """Makes the gradients at once, for losses that will all be multiplied by `upstream`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        z_loss: float,
        label_smoothing: float,
        rows: int,
        upstream: float,
    ) -> Tensor:
        _remember(ctx, (hidden, weight, targets, z_loss, label_smoothing, rows), hidden)
        factors = torch.full(targets.shape, upstream, dtype=_sums(hidden.dtype))
        factors = factors.to(hidden.device)
        settings = (z_loss, label_smoothing, rows)
        need_weight = ctx.needs_input_grad[1]
        losses, *gradients = _run(hidden, weight, targets, *settings, factors, need_weight)
        ctx.made = factors, *gradients
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        made, ctx.made = ctx.made, None  # given away: autograd need not copy them
        if made is not None and torch.equal(made[0], upstream):
            d_weight = made[2] if ctx.needs_input_grad[1] else None
            return made[1], d_weight, None, None, None, None, None
        return *_backward(ctx, upstream), None


@torch.no_grad()
def statistics(
    hidden: Tensor, weight: Tensor, targets: Tensor, limit: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, whether the target is the most probable row, entropies: [tokens] each."""
    rows = weight.shape[0] if limit is None else limit
    dtype = compute_type(hidden)
    hidden = hidden.to(dtype)
    size = chunk_tokens(hidden.shape[0], rows)
    room = hidden.new_empty(min(size, hidden.shape[0]), rows)
    block = max(1, BLOCK_ELEMENTS // rows)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for some, aims in zip(torch.split(hidden, size), torch.split(targets, size), strict=True):
        chunk = room[: some.shape[0]]
        for tile in _tiles(rows):
            torch.mm(some, weight[tile].to(dtype).T, out=chunk[:, tile])
        for logits, wanted in zip(torch.split(chunk, block), torch.split(aims, block), strict=True):
            log_probs = logits.to(_sums(dtype)).log_softmax(-1)
            entropy = -(log_probs.exp() * log_probs.clamp(min=-1e30)).sum(-1)
            loss = -log_probs.gather(1, wanted[:, None]).squeeze(1)
            parts.append((loss, logits.argmax(-1) == wanted, entropy))
    if not parts:
        empty = hidden.new_empty(0, dtype=_sums(dtype))
        return empty, empty.bool(), empty
    losses, correct, entropies = zip(*parts, strict=True)
    return torch.cat(losses), torch.cat(correct), torch.cat(entropies)


def _sums(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _tiles(rows: int) -> list[slice]:
    return [slice(first, min(rows, first + TILE_ROWS)) for first in range(0, rows, TILE_ROWS)]


def _run(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    label_smoothing: float,
    rows: int,
    upstream: Tensor | None,
    need_weight: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, and with `upstream` [tokens] the gradients of hidden and, if needed, weight too."""
    dtype, wide = hidden.dtype, _sums(hidden.dtype)
    # Before the weight's gradient, whose place in the heap the next step should find whole.
    size = chunk_tokens(hidden.shape[0], rows)
    room = hidden.new_empty(min(size, hidden.shape[0]), rows)
    losses = hidden.new_empty(hidden.shape[0], dtype=wide)
    d_hidden = torch.empty_like(hidden) if upstream is not None else hidden.new_empty(0)
    d_weight = hidden.new_empty(0)
    if upstream is not None and need_weight:
        d_weight = weight.new_empty(weight.shape, dtype=wide)
        d_weight[rows if hidden.shape[0] else 0 :].zero_()
    tiles = _tiles(rows)
    kind = weight.dtype
    if weight.numel() <= CHUNK_ELEMENTS:
        weight = weight.to(dtype)
    parts = [slice(start, start + size) for start in range(0, hidden.shape[0], size)]
    for part, following in zip_longest(parts, parts[1:]):
        some = hidden[part]
        logits = room[: some.shape[0]]
        if part.start == 0 or upstream is None:
            for tile in tiles:
                torch.mm(some, weight[tile].to(dtype).T, out=logits[:, tile])
        above = None if upstream is None else upstream[part]
        losses[part] = _softmax_in_place(logits, targets[part], z_loss, label_smoothing, above)
        if upstream is None:
            continue
        d_some = torch.zeros_like(some, dtype=wide)
        for tile in tiles:
            d_logits, head = logits[:, tile], weight[tile].to(dtype)
            d_some.add_(d_logits @ head)
            if need_weight:
                product = d_logits.T @ some
                d_weight[tile] = product if part.start == 0 else d_weight[tile].add_(product)
            if following is not None:  # the tile is cast once for both chunks
                coming = hidden[following]
                torch.mm(coming, head.T, out=room[: coming.shape[0], tile])
        d_hidden[part] = d_some
    return losses, d_hidden, d_weight.to(kind)


def _softmax_in_place(
    logits: Tensor,
    targets: Tensor,
    z_loss: float,
    label_smoothing: float,
    upstream: Tensor | None,
) -> Tensor:
    """Return the losses; with `upstream`, leave the logits' gradient in `logits`."""
    tokens, rows = logits.shape
    losses = logits.new_empty(tokens, dtype=_sums(logits.dtype))
    if native.wanted() and native.fits(logits):
        if bool((targets < 0).any() | (targets >= rows).any()):  # C++ would read beyond the row
            raise IndexError(f"a target is out of bounds: the head has {rows} rows")
        kind, targets = native.is_bf16(logits), targets.contiguous()
        upstream = None if upstream is None else upstream.contiguous()
        factors = (float(z_loss), float(label_smoothing))
        native.call(
            "cross_entropy", logits, kind, tokens, rows, targets, losses, upstream, *factors
        )
        return losses
    size = max(1, BLOCK_ELEMENTS // rows)
    for start in range(0, tokens, size):
        part = slice(start, start + size)
        wanted = targets[part, None]
        block = logits[part].to(losses.dtype)
        target = block.gather(1, wanted)
        mean = block.mean(1, keepdim=True) if label_smoothing else None
        top = block.amax(1, keepdim=True)
        torch.softmax(block, 1, out=block)
        # The greatest probability is at least 1 / rows, so its logarithm loses nothing.
        above_top = -block.amax(1, keepdim=True).log()
        lse = top + above_top
        # Differences of logits come first: rounding lse itself would cost a small loss its digits.
        loss = above_top + (1 - label_smoothing) * (top - target)
        if mean is not None:
            loss = loss + label_smoothing * (top - mean)
        losses[part] = (loss + z_loss * lse.square()).squeeze(1)
        if upstream is None:
            continue
        above = upstream[part, None]
        penalty = 2 * z_loss * lse
        # Of a sure prediction p - 1 is small: taken before multiplying, which would round p.
        chosen = block.gather(1, wanted)
        d_target = chosen - (1 - label_smoothing) + chosen * penalty - label_smoothing / rows
        block.mul_(above * (1 + penalty))
        if label_smoothing:
            block.sub_(above * (label_smoothing / rows))
        block.scatter_(1, wanted, above * d_target)
        logits[part] = block
    return losses
