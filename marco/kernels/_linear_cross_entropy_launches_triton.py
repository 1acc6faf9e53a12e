"""What the linear cross-entropy launches, forward and backward."""

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels import spaces
from marco.kernels._counted import Counted
from marco.kernels._grid import group_of_tiles, group_of_walks
from marco.kernels._linear_cross_entropy_kernels_triton import (
    linear_cross_entropy_bwd_kernel,
    linear_cross_entropy_fwd_kernel,
    linear_cross_entropy_product_kernel,
)
from marco.kernels.device import device_of
from marco.kernels.launches import launch
from marco.kernels.spaces import Options
from marco.kernels.tuning import choose

#: Parts of the vocabulary in the forward: enough programs for a GPU with few tokens.
PARTS = 32
#: Slabs of the vocabulary in the backward: the logits' gradient is 1/48 of the whole.
SLABS = 48
#: What the gradients of fp16 logits are scaled to: far from overflow, and 1e-9 is still normal.
FP16_TARGET = 2.0**14


def forward(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    counted: Counted | None,
    z_loss: float,
    label_smoothing: float,
    limit: int,
    statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Losses, correct, entropy (both empty without `statistics`), max(z), log sum exp(z - max)."""
    tokens, width = hidden.shape
    hidden, weight, targets = (x.contiguous() for x in (hidden, weight, targets))
    # A target that no row answers leaves NaN, not the memory's last contents.
    target_logits = hidden.new_full((tokens,), torch.nan, dtype=torch.float32)
    place, count = (targets, targets) if counted is None else counted[1:]
    smoothed = label_smoothing != 0

    def run(options: Options) -> list[Tensor]:
        tile_t, tile_v = options["tile_t"], options["tile_v"]
        tiles_a_part = triton.cdiv(triton.cdiv(limit, tile_v), PARTS)
        parts = triton.cdiv(limit, tile_v * tiles_a_part)
        buffers = [
            hidden.new_empty((tokens, parts) if wanted else (0,), dtype=dtype)
            for wanted, dtype in (
                (True, torch.float32),
                (True, torch.float32),
                (smoothed, torch.float32),
                (statistics, torch.float32),
                (statistics, torch.int32),
            )
        ]
        launch(
            "linear_cross_entropy_fwd_kernel",
            linear_cross_entropy_fwd_kernel[(parts, triton.cdiv(tokens, tile_t))],
            hidden,
            weight,
            targets,
            place,
            count,
            target_logits,
            *buffers,
            tokens,
            limit,
            width,
            tiles_a_part,
            group_of_walks(tokens, tile_t, width * hidden.element_size()),
            gathered=counted is not None,
            smoothed=smoothed,
            statistics=statistics,
            **options,
        )
        return buffers

    # The statistics need registers of their own.
    op = "linear_cross_entropy_statistics" if statistics else "linear_cross_entropy_fwd"
    maxima, sums, totals, weighted, best = run(
        choose(op, spaces.logits(op, hidden), hidden, (tokens, limit, width), run)
    )
    maximum, first = maxima.max(dim=1)
    moved = maxima - maximum[:, None]
    shares = moved.exp()
    total_sum = (sums * shares).sum(dim=1)
    log_sum = total_sum.log()
    losses = log_sum + (1 - label_smoothing) * (maximum - target_logits)
    if smoothed:
        losses += label_smoothing * (maximum - totals.sum(dim=1) / limit)
    if z_loss != 0:
        losses += z_loss * (maximum + log_sum).square()
    # A target that no row answers: its gradients are no numbers either.
    log_sum = log_sum.where(~target_logits.isnan(), torch.nan)
    asked = tokens if statistics else 0
    correct = targets.new_empty(asked, dtype=torch.bool)
    entropy = hidden.new_empty(asked, dtype=torch.float32)
    if statistics:
        correct = best.gather(1, first[:, None]).squeeze(1) == targets
        entropy = log_sum - (shares * (weighted + moved * sums)).sum(dim=1) / total_sum
    if counted is not None:  # ignored tokens hold what the memory held before
        mask = counted.mask
        losses, maximum, log_sum = (x.where(mask, 0.0) for x in (losses, maximum, log_sum))
        if statistics:
            correct, entropy = correct & mask, entropy.where(mask, 0.0)
    return losses, correct, entropy, maximum, log_sum


def backward(
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    counted: Counted | None,
    maximum: Tensor,
    log_sum: Tensor,
    z_loss: float,
    label_smoothing: float,
    limit: int,
    filter_gradients: bool,
    need_hidden: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of hidden and weight; of one that is not needed, an empty tensor."""
    hidden, weight, targets = (x.contiguous() for x in (hidden, weight, targets))
    if counted is not None:
        grad = grad.where(counted.mask, 0.0)
    scale = _scale(grad, maximum + log_sum, z_loss, hidden.dtype)
    tensors = (hidden, weight, targets, maximum, log_sum, (grad * scale).contiguous())
    options = (z_loss, label_smoothing, limit, filter_gradients, need_hidden, need_weight)
    grad_hidden, grad_weight = _slab_by_slab(*tensors, scale.reciprocal(), counted, *options)
    return grad_hidden.to(hidden.dtype), grad_weight


def _slab_by_slab(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    maximum: Tensor,
    log_sum: Tensor,
    grad: Tensor,
    unscale: Tensor,
    counted: Counted | None,
    z_loss: float,
    label_smoothing: float,
    limit: int,
    filter_gradients: bool,
    need_hidden: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    """As `backward`, for contiguous tensors and a scaled `grad`; that of hidden is in fp32."""
    tokens, width = hidden.shape
    grad_hidden = hidden.new_empty(hidden.shape if need_hidden else (0,), dtype=torch.float32)
    grad_weight = weight.new_empty(weight.shape if need_weight else (0,))
    grad_weight[limit:].zero_()
    slab = triton.cdiv(triton.cdiv(limit, SLABS), 128) * 128
    d_logits = hidden.new_empty(tokens, slab)
    place, count = (targets, targets) if counted is None else counted[1:]
    gathered = counted is not None
    device = device_of(hidden)
    # cuBLAS is the fastest for a whole product, but can neither skip nor undo a scale.
    whole = not (filter_gradients or gathered or hidden.dtype == torch.float16)

    op = "linear_cross_entropy_filtered" if filter_gradients else "linear_cross_entropy_bwd"
    space = spaces.logits(op, hidden)
    edge = space[0]["tile_t"]  # with filtering the only choice, and square
    marks = (triton.cdiv(tokens, edge), slab // edge)
    kept = grad.new_empty(marks if filter_gradients else (0,), dtype=torch.int8)

    def make_gradient(first: int, options: Options) -> None:
        tile = options["tile_t"], options["tile_v"]
        grid = (triton.cdiv(slab, tile[1]), triton.cdiv(tokens, tile[0]))
        launch(
            "linear_cross_entropy_bwd_kernel",
            linear_cross_entropy_bwd_kernel[grid],
            hidden,
            weight,
            targets,
            place,
            count,
            maximum,
            log_sum,
            grad,
            d_logits,
            kept,
            tokens,
            first,
            min(first + slab, limit),
            limit,
            width,
            slab,
            z_loss,
            label_smoothing,
            group_of_tiles(tile, slab * width * weight.element_size(), device),
            gathered=gathered,
            filtered=filter_gradients,
            **options,
        )

    def multiply(a: Tensor, b: Tensor, out: Tensor, of_hidden: bool, options: Options) -> None:
        rows, columns = out.shape
        tile = options["tile_m"], options["tile_n"]
        grid = (triton.cdiv(columns, tile[1]), triton.cdiv(rows, tile[0]))
        launch(
            "linear_cross_entropy_product_kernel",
            linear_cross_entropy_product_kernel[grid],
            a,
            b,
            out,
            place,
            count,
            kept,
            unscale,
            rows,
            columns,
            a.shape[1],
            *a.stride(),
            *((marks[1], 1) if of_hidden else (1, marks[1])),
            group_of_tiles(tile, b.numel() * b.element_size(), device),
            gathered=(1 if of_hidden else 2) if gathered else 0,
            accumulate=of_hidden,
            filtered=filter_gradients,
            **options,
        )

    end = min(slab, limit)
    chosen = choose(op, space, hidden, (tokens, slab, width), lambda o: make_gradient(0, o))
    products = spaces.products(op, hidden)
    sizes = (tokens, width, slab)
    for_hidden = for_weight = products[0]
    if need_hidden:
        for_hidden = choose(
            f"{op}_hidden",
            products,
            hidden,
            sizes,
            lambda o: multiply(d_logits[:, :end], weight[:end], grad_hidden, True, o),
        )
        grad_hidden.zero_()  # only now: a measurement adds to it
    if need_weight and not whole:
        for_weight = choose(
            f"{op}_weight",
            products,
            hidden,
            sizes,
            lambda o: multiply(d_logits[:, :end].t(), hidden, grad_weight[:end], False, o),
        )
    for first in range(0, limit, slab):
        end = min(first + slab, limit)
        make_gradient(first, chosen)
        part = d_logits[:, : end - first]
        if need_hidden:
            multiply(part, weight[first:end], grad_hidden, True, for_hidden)
        if need_weight and whole:
            torch.mm(part.t(), hidden, out=grad_weight[first:end])
        elif need_weight:
            multiply(part.t(), hidden, grad_weight[first:end], False, for_weight)
    return grad_hidden, grad_weight


def _scale(grad: Tensor, lse: Tensor, z_loss: float, dtype: torch.dtype) -> Tensor:
    """Return what to multiply the logits' gradient by, [1] fp32, a power of 2: 1 but for fp16.

    A mean over 8,192 tokens and 152,064 rows has entries of 1e-9, which fp16 flushes to zero.
    """
    if dtype != torch.float16:
        return torch.ones_like(grad[:1])
    largest = (grad.abs() * (1 + 2 * z_loss * lse.abs())).max()
    return (FP16_TARGET / largest.clamp_min(1e-20)).log2().floor().exp2().view(1)
