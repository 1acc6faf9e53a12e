"""What each op does on a chip, ours and eager torch's, forward and backward: `bench.roofline`'s.

The ops between products count every operand once a kernel (`marco.planning.trace`). Losses run
launch by launch, their products by the model of tiles and L2 that `bench.kernel_traffic` has; it
stays outside of `marco.planning`, which traces shapes and sees no launches. Attention is causal,
each row one document: a flash kernel reads q, k, v and writes the output once and makes half of the
scores; eager torch makes all of them, and writes and reads [length, length] in every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bench import kernel_launches
from bench.gpu_attention import eager
from bench.kernel_launches import leaf, our_ops, plain_ops
from bench.kernel_traffic import ELEMENT_OPS, PRODUCT_OPS
from bench.product_traffic import measure
from marco.kernels.chips import Chip
from marco.kernels.linear_cross_entropy import linear_cross_entropy_naive
from marco.kernels.linear_log_probs import linear_log_probs
from marco.models.gpu_attention import GpuPacking
from marco.planning.roofline import Work
from marco.planning.trace import flash_attention, trace

OPS = (*ELEMENT_OPS, *PRODUCT_OPS, "linear_log_probs", "attention")
Sides = tuple[list[Work], list[Work]]


def op_works(name: str, model: str, rows: int, length: int, chip: Chip) -> Sides:
    """The kernels of one of `OPS`, ours and eager torch's, in bf16."""
    if name == "attention":
        return _attention(model, rows, length)
    if name == "linear_log_probs":
        inputs = _sequences(model, rows, length)
        return modelled(_log_probs, inputs, chip), modelled(_eager_log_probs, inputs, chip)
    sides = [ops(model, torch.bfloat16, rows * length)[name] for ops in (our_ops, plain_ops)]
    if name in PRODUCT_OPS:
        ours, plain = (modelled(op, inputs, chip) for op, inputs in sides)
    else:
        ours, plain = (traced(op, inputs) for op, inputs in sides)
    return ours, plain


def traced(op: Callable[..., Any], inputs: Sequence[Tensor]) -> list[Work]:
    """Every operand once a kernel."""

    def run() -> None:
        made = op(*inputs)
        outputs = [made] if isinstance(made, Tensor) else list(made)
        wanted = [x for x in inputs if x.requires_grad]
        torch.autograd.grad(outputs, wanted, [torch.empty_like(x) for x in outputs])

    # The incoming gradients are another kernel's to make.
    return [work for work in trace(run) if work.name != "aten::empty_like"]


def modelled(op: Callable[..., Tensor], inputs: Sequence[Tensor], chip: Chip) -> list[Work]:
    """Launch by launch, products by the model of tiles and L2."""
    launches, _, _ = measure(op, inputs, chip)
    return [Work(launch.name, launch.moved, launch.flops) for launch in launches]


def _attention(model: str, rows: int, length: int) -> Sides:
    _, _, heads, kv_heads, width, _ = kernel_launches.MODELS[model]
    inputs = [leaf(torch.bfloat16, rows, length, n, width) for n in (heads, kv_heads, kv_heads)]
    starts = torch.zeros(rows, length, dtype=torch.int64, device="meta")
    plain = eager(GpuPacking(starts, None), width**-0.5)
    return traced(flash_attention, inputs), traced(plain, inputs)


def _sequences(model: str, rows: int, length: int) -> list[Tensor]:
    hidden, *_, vocabulary = kernel_launches.MODELS[model]
    targets = torch.empty(rows, length, dtype=torch.int64, device="meta")
    return [
        leaf(torch.bfloat16, rows, length, hidden),
        leaf(torch.bfloat16, vocabulary, hidden),
        targets,
    ]


def _log_probs(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Of sequences, as losses on preferences take them."""
    return linear_log_probs(hidden, head, targets, ignore_index=None, backend="triton")[1]


def _eager_log_probs(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    losses = linear_cross_entropy_naive(hidden.flatten(0, 1), head, targets.flatten())
    return -losses.view(targets.shape).sum(1)
