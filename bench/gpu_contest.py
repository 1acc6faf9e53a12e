"""One op's contest: every contender checked, then timed forward and forward + backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from bench.gpu_check import Truth
from bench.gpu_machine import Machine
from bench.gpu_ops import Op, build, has_head
from bench.op_inputs import copied, incoming, outputs_of

Run = Callable[..., Any]
Row = dict[str, Any]

#: Inputs rotate through more bytes than the largest last cache holds (MI300X).
ROTATED_BYTES = 2**28
MOST_COPIES = 32
#: Tokens of a check where float64 is large: logits, or scores of every pair of tokens.
HEAD_TOKENS = 512
ATTENTION_TOKENS = 1024
#: They are the plain twin, but for attention's.
UNCHECKED = ("torch", "compile")


def contest(
    name: str,
    model: str,
    dtype: torch.dtype,
    tokens: int,
    machine: Machine,
    *,
    compiling: bool = True,
) -> dict[str, Row]:
    """Contender → what was found; torch.compile is among them if `compiling`.

    A row has `forward_ms`, `ms` (forward and backward, every gradient), `busy_ms` of that,
    `errors` (`gpu_check.Verdict`s) and `holds`; or `error`, why there is nothing.
    """
    few = tokens
    if has_head(name) or name == "attention":
        few = min(tokens, HEAD_TOKENS if has_head(name) else ATTENTION_TOKENS)
    checks = attempt(
        lambda: _checks(build(name, model, dtype, machine.device, few), machine), machine
    )
    try:
        op = build(name, model, dtype, machine.device, tokens)
    except torch.OutOfMemoryError as error:
        return {"ours": _failed(error)}
    rows: dict[str, Row] = {}
    for by, make in op.contenders.items():
        if by == "compile" and not compiling:
            continue
        rows[by] = attempt(lambda made=make: timed(made(), op.inputs, machine), machine)
        # Without a truth, all share the reason.
        rows[by] |= checks if "error" in checks else checks.get(by, {})
    return rows


def attempt(run: Callable[[], Row], machine: Machine) -> Row:
    """Its row, or why there is none: one contender's failure is not another's."""
    try:
        return run()
    except Exception as error:  # whatever a kernel, a compiler or an allocator raises
        row = _failed(error)
    machine.free()
    return row


def _failed(error: Exception) -> Row:
    lines = str(error).strip().splitlines() or [""]
    return {"error": f"{type(error).__name__}: {lines[0]}"[:200]}


def _checks(op: Op, machine: Machine) -> Row:
    """Contender → how it compares with the truth."""
    truth = Truth(op.plain, op.inputs)
    return {
        by: attempt(lambda made=make: _checked(truth, made()), machine)
        for by, make in op.contenders.items()
        if by not in UNCHECKED
    }


def _checked(truth: Truth, run: Run) -> Row:
    verdicts = truth.verdicts(run)
    return {
        "errors": [asdict(one) | {"ratio": one.ratio} for one in verdicts],
        "holds": all(one.holds for one in verdicts),
    }


def timed(run: Run, inputs: Sequence[Tensor], machine: Machine) -> Row:
    """Milliseconds of a call, and of a call with all its gradients, over rotating inputs."""
    size = sum(x.nbytes for x in inputs)
    count = min(MOST_COPIES, 1 + max(1, -(-ROTATED_BYTES // size)))
    sets = [copied(inputs) for _ in range(count)]
    outputs = outputs_of(run(*sets[0]))
    places = [number for number, y in enumerate(outputs) if y.requires_grad]
    arriving = [[incoming(outputs)[number] for number in places] for _ in sets]
    del outputs
    forward_turns, turns = cycle(sets), cycle(zip(sets, arriving, strict=True))

    def forward() -> object:
        return run(*next(forward_turns))

    def both() -> object:
        leaves, gradients = next(turns)
        made = outputs_of(run(*leaves))
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        return torch.autograd.grad([made[number] for number in places], wanted, gradients)

    return {
        "forward_ms": machine.time_ms(forward),
        "ms": machine.time_ms(both),
        "busy_ms": machine.busy_ms(both),
    }
