"""What the ops between matrix products move: ours, Liger's and torch's.

    TRITON_INTERPRET=1 python -m bench.element_traffic   (`bench.kernel_traffic` starts it)

Triton's kernels run in its interpreter, on fewer tokens, as on a GPU of fewer processors with as
many tokens each: the ratios are the same, in a time that an interpreter has. The data is fp16, as
large as bf16, which the interpreter cannot add. Liger gets the same numbers, and what it gives must
agree. Eager torch runs at full size on tensors without data. The last line is JSON.
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
from bench.op_inputs import real
from bench.torch_traffic import Launch, size
from marco.kernels.chips import CHIPS, Chip
from marco.kernels.device import assuming

#: About as many are interpreted.
TOKENS = {"rms_norm": 990, "add_rms_norm": 990, "rope": 128, "swiglu": 64}
#: Rows from which Liger's norm of short rows takes 16 of them a program.
BLOCKED_ROWS = 4096 * 8


@dataclass(frozen=True)
class Needs:
    """What an op's maths needs of memory, besides incoming gradients and what it writes.

    Attributes:
        forward: of the inputs.
        backward: of inputs and outputs.
    """

    forward: Callable[[list[Tensor]], list[Tensor]]
    backward: Callable[[list[Tensor], list[Tensor]], list[Tensor]]


def _halves(inputs: list[Tensor]) -> list[Tensor]:
    """Of cos and sin the first, which is all there is to know."""
    return [x.chunk(2, -1)[0] for x in inputs[2:]]


_ALL = Needs(lambda inputs: inputs, lambda inputs, _: inputs)
NEEDS = {
    "rms_norm": _ALL,
    "rms_norm of heads": _ALL,
    "add_rms_norm": Needs(_ALL.forward, lambda inputs, made: [made[1], inputs[2]]),
    "rope": Needs(
        lambda inputs: [*inputs[:2], *_halves(inputs)], lambda inputs, _: _halves(inputs)
    ),
    "swiglu": _ALL,
}


def shrunk(name: str, model: str, tokens: int, chip: Chip) -> tuple[int, int]:
    """Tokens that are interpreted, and processors that have as many each as all on the chip."""
    if name in ("rope", "swiglu"):  # a program takes one token or less: more change nothing
        return min(tokens, TOKENS[name]), 1
    wanted = TOKENS.get(name) or -(-BLOCKED_ROWS // kernel_launches.MODELS[model][2])
    count = min(chip.processors, -(-wanted * chip.processors // tokens))
    return -(-tokens * count // chip.processors), count


@dataclass(frozen=True)
class Ran:
    """One side's results and launches.

    Attributes:
        inputs: what it was given.
        outputs: as ours lie, before the backward, which may write over them.
        gradients: of the inputs that want one.
        passes: launches of forward and backward.
        outside: storages of inputs, outputs and gradients in and out: all else is in between.
        source: storage of what was normed.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    gradients: list[Tensor]
    passes: tuple[list[Launch], list[Launch]]
    outside: set[int]
    source: int


def run(op: Callable[..., Any], given: Sequence[Tensor]) -> Ran:
    """Forward and backward, counted."""
    inputs = [x.detach().clone().requires_grad_(x.requires_grad) for x in given]
    forward: list[Launch] = []
    backward: list[Launch] = []
    with counting(forward):
        made = op(*inputs)
    outputs = [made] if isinstance(made, Tensor) else list(made)
    kept = [x.detach().clone() for x in outputs]
    generator = torch.Generator().manual_seed(1)
    incoming = [torch.empty_like(x) for x in outputs]
    for x in incoming:
        if not x.is_meta:
            x.copy_(torch.randn(x.shape, generator=generator))
    with counting(backward):
        wanted = [x for x in inputs if x.requires_grad]
        gradients = torch.autograd.grad(outputs, wanted, incoming)
    outside = {storage(x) for x in (*inputs, *outputs, *incoming, *gradients)}
    source = storage(outputs[1] if len(inputs) == 3 else inputs[0])
    return Ran(inputs, kept, list(gradients), (forward, backward), outside, source)


def storage(x: Tensor) -> int:
    """Address of a tensor's storage, as `Access` has it."""
    return x.untyped_storage()._cdata


def floors(needs: Needs, ran: Ran) -> tuple[int, int]:
    """Bytes of the forward and of the backward; of gradients that are one tensor, once."""
    distinct = {storage(x): x for x in ran.gradients}.values()
    backward = needs.backward(ran.inputs, ran.outputs)
    return (
        sum(map(size, (*needs.forward(ran.inputs), *ran.outputs))),
        sum(map(size, (*ran.outputs, *backward, *distinct))),
    )


def cached(launches: Sequence[Launch], held: float) -> int:
    """Bytes if what is at most `held` bytes large were fetched once a launch."""
    total = 0
    for launch in launches:
        total += sum(x.moved for x in launch.writes)
        total += sum(min(x.moved, x.size) if x.size <= held else x.moved for x in launch.reads)
    return total


def side(ran: Ran, floor: tuple[int, int], held: float) -> dict[str, Any]:
    """What one side moves, pass by pass, access by access."""
    reads = [x for launch in ran.passes[1] for x in launch.reads if x.storage == ran.source]
    found: dict[str, Any] = {
        "reads_of_source": sum(x.moved for x in reads) / size(ran.inputs[0]),
    }
    for name, launches, least in zip(("forward", "backward"), ran.passes, floor, strict=True):
        found[name] = {
            "floor": least,
            "moved": sum(launch.moved for launch in launches),
            "cached": cached(launches, held),
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


def measure(name: str, model: str, tokens: int, chip: Chip, liger: bool) -> dict[str, Any]:
    """Of one op: its sizes, its floor at all tokens, and what each side moves.

    Raises AssertionError where Liger's outputs or gradients differ from ours by more than 1 % of
    the largest.
    """
    plain, metas = kernel_launches.plain_ops(model, torch.float16, tokens)[name]
    whole = run(plain, metas)
    least = floors(NEEDS[name], whole)
    few, count = shrunk(name, model, tokens, chip)
    op, metas = kernel_launches.our_ops(model, torch.float16, few)[name]
    inputs = real(metas, 0, torch.device("cpu"))
    held = chip.l2 / 2
    with processors(count, liger), assuming(chip):
        ours = run(op, inputs)
        floor = floors(NEEDS[name], ours)
        found = {
            "inputs": [list(x.shape) for x in inputs],
            "processors": count,
            "floor": sum(least),
            "unfused": side(whole, least, held),
            "ours": side(ours, floor, held * few / tokens),
        }
        if liger:
            theirs = run(kernel_launches.liger_ops(model, torch.float16, few)[name][0], inputs)
            pairs = zip(
                (*theirs.outputs, *theirs.gradients),
                (*ours.outputs, *ours.gradients),
                strict=True,
            )
            for x, y in pairs:
                torch.testing.assert_close(x, y, rtol=0, atol=0.01 * float(y.abs().max()))
            found["Liger"] = side(theirs, floor, held * few / tokens)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--ops", required=True)
    parser.add_argument("--chip", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--liger", action="store_true")
    given = parser.parse_args()
    rows = {
        name: measure(name, given.model, given.tokens, CHIPS[given.chip], given.liger)
        for name in given.ops.split(";")
        if name
    }
    print(json.dumps(rows))
