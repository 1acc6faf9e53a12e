"""What the ops between matrix products move under Triton's interpreter, ours and Liger's.

    TRITON_INTERPRET=1 python -m bench.element_traffic   (`bench.kernel_traffic` starts it)

The data is fp16, as large as bf16, which the interpreter cannot add. Liger gets the same numbers,
and what it gives must agree. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench import kernel_launches
from bench.interpreted import counting, processors
from bench.torch_traffic import Launch, size
from marco.kernels.chips import CHIPS

CHIP = CHIPS["h100"]
#: What 8,192 tokens are on its 132 processors: fewer processors with as many each give the same
#: ratios, in a time that an interpreter has.
TOKENS_A_PROCESSOR = 62
#: Rows from which Liger's norm of short rows takes 16 of them a program.
BLOCKED_ROWS = 4096 * 8


@dataclass(frozen=True)
class Case:
    """An op's inputs and what its floor is made of.

    Attributes:
        inputs: those of ours; Liger's gets the same numbers.
        processors: how many the device is taken to have.
        forward_reads: what the forward's maths needs.
        backward_reads: what the backward's maths needs of inputs and outputs, besides the incoming
            gradients.
    """

    inputs: list[Tensor]
    processors: int
    forward_reads: list[Tensor]
    backward_reads: Callable[[list[Tensor]], list[Tensor]]


def cases(model: str) -> dict[str, Case]:
    """The ops at a model's widths."""
    hidden, inner, heads, kv_heads, width, _ = kernel_launches.MODELS[model]
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).half().requires_grad_()

    tokens = 16 * TOKENS_A_PROCESSOR
    x, residual, gain = leaf(tokens, hidden), leaf(tokens, hidden), leaf(hidden)
    wide = -(-BLOCKED_ROWS // (TOKENS_A_PROCESSOR * heads))
    per_head, head_gain = leaf(1, wide * TOKENS_A_PROCESSOR, heads, width), leaf(width)
    # One program takes one token, or one row's block: more of them change nothing.
    q, k = leaf(1, 128, heads, width), leaf(1, 128, kv_heads, width)
    halves = [torch.randn(1, 128, width // 2, generator=generator).half() for _ in range(2)]
    tables = [torch.cat([half, half], dim=-1) for half in halves]
    gate, up = leaf(64, inner), leaf(64, inner)
    return {
        "rms_norm": Case([x, gain], 16, [x, gain], lambda _: [x, gain]),
        "rms_norm of heads": Case(
            [per_head, head_gain], wide, [per_head, head_gain], lambda _: [per_head, head_gain]
        ),
        "add_rms_norm": Case(
            [x, residual, gain], 16, [x, residual, gain], lambda made: [made[1], gain]
        ),
        "rope": Case(
            [q, k, *tables],
            2,
            [q, k, *halves],
            lambda _: halves,
        ),
        "swiglu": Case([gate, up], 1, [gate, up], lambda _: [gate, up]),
    }


@dataclass(frozen=True)
class Ran:
    """One side's results and launches.

    Attributes:
        outputs: as ours lie, before the backward, which may write over them.
        gradients: of the inputs that want one.
        passes: launches of forward and backward.
        outside: storages of inputs, outputs and gradients in and out: all else is in between.
        source: storage of what was normed.
    """

    outputs: list[Tensor]
    gradients: list[Tensor]
    passes: tuple[list[Launch], list[Launch]]
    outside: set[int]
    source: int


def run(op: Callable[..., Any], case: Case) -> Ran:
    """Forward and backward, counted."""
    inputs = [x.detach().clone().requires_grad_(x.requires_grad) for x in case.inputs]
    forward: list[Launch] = []
    backward: list[Launch] = []
    with counting(forward):
        made = op(*inputs)
    outputs = [made] if isinstance(made, Tensor) else list(made)
    kept = [x.detach().clone() for x in outputs]
    generator = torch.Generator().manual_seed(1)
    incoming = [torch.empty_like(x) for x in outputs]
    for x in incoming:
        x.copy_(torch.randn(x.shape, generator=generator))
    with counting(backward):
        wanted = [x for x in inputs if x.requires_grad]
        gradients = torch.autograd.grad(outputs, wanted, incoming)
    outside = {storage(x) for x in (*inputs, *outputs, *incoming, *gradients)}
    source = storage(outputs[1] if len(case.inputs) == 3 else inputs[0])
    return Ran(kept, list(gradients), (forward, backward), outside, source)


def storage(x: Tensor) -> int:
    """Address of a tensor's storage, as `Access` has it."""
    return x.untyped_storage()._cdata


def floors(case: Case, ran: Ran) -> tuple[int, int]:
    """Bytes of the forward and of the backward; of gradients that are one tensor, once."""
    distinct = {storage(x): x for x in ran.gradients}.values()
    forward = sum(map(size, (*case.forward_reads, *ran.outputs)))
    return forward, sum(map(size, (*ran.outputs, *case.backward_reads(ran.outputs), *distinct)))


def cached(launches: Sequence[Launch], share: float) -> int:
    """Bytes if what fits half of that share of the chip's L2 were fetched once a launch."""
    held = share * CHIP.l2 / 2
    total = 0
    for launch in launches:
        total += sum(x.moved for x in launch.writes)
        total += sum(min(x.moved, x.size) if x.size <= held else x.moved for x in launch.reads)
    return total


def side(ran: Ran, case: Case, floor: tuple[int, int]) -> dict[str, Any]:
    """What one side moves, pass by pass, access by access."""
    reads = [x for launch in ran.passes[1] for x in launch.reads if x.storage == ran.source]
    found: dict[str, Any] = {
        "reads_of_source": sum(x.moved for x in reads) / size(case.inputs[0]),
    }
    for name, launches, least in zip(("forward", "backward"), ran.passes, floor, strict=True):
        found[name] = {
            "floor": least,
            "moved": sum(launch.moved for launch in launches),
            "cached": cached(launches, case.processors / CHIP.processors),
            "launches": len(launches),
            "accesses": [
                {
                    "kernel": launch.name,
                    "does": does,
                    "argument": x.name,
                    "moved": x.moved,
                    "times": x.moved / x.size,
                    "between": x.storage not in ran.outside,
                }
                for launch in launches
                for does, accesses in (("reads", launch.reads), ("writes", launch.writes))
                for x in accesses
            ],
        }
    return found


def measure(model: str, names: Sequence[str], liger: bool) -> dict[str, Any]:
    """By op: its sizes, and what each side moves.

    Raises AssertionError where Liger's outputs or gradients differ from ours by more than 1 % of
    the largest.
    """
    found: dict[str, Any] = {}
    our_ops = kernel_launches.our_ops(model, torch.float16)
    liger_ops = kernel_launches.liger_ops(model, torch.float16) if liger else {}
    for name, case in cases(model).items():
        if name not in names:
            continue
        with processors(case.processors):
            ours = run(our_ops[name][0], case)
            floor = floors(case, ours)
            found[name] = {
                "inputs": [list(x.shape) for x in case.inputs],
                "processors": case.processors,
                "ours": side(ours, case, floor),
            }
            if liger:
                theirs = run(liger_ops[name][0], case)
                pairs = zip(
                    (*theirs.outputs, *theirs.gradients),
                    (*ours.outputs, *ours.gradients),
                    strict=True,
                )
                for x, y in pairs:
                    torch.testing.assert_close(x, y, rtol=0, atol=0.01 * float(y.abs().max()))
                found[name]["liger"] = side(theirs, case, floor)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--ops", required=True)
    parser.add_argument("--liger", action="store_true")
    given = parser.parse_args()
    print(json.dumps(measure(given.model, given.ops.split(";"), given.liger)))
