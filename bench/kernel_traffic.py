"""Bytes that ops move before they are fused and after, beside the least that will do, and Liger's.

    python -m bench.kernel_traffic [--model 7b] [--chip h100] [--tokens 8192]
                                   [--ops "rms_norm;rope"] [--no-liger]

The floor of a forward is its inputs read once and its outputs written once; of a backward, the
incoming gradients and what the maths needs of the forward's tensors, and the gradients written
once. A ratio is what both passes move, of both floors. Launches are Triton's kernels and torch's.
Unfused is eager torch, each op reading its operands and writing its results once.

Norms, rope and SwiGLU run under Triton's interpreter (`bench.element_traffic`): every unmasked lane
of every load and store counts, and every torch op around them. "Cached" is the same if what fits
half of the L2 cache, such as a norm's weight, came from memory once a launch. Losses run without
data, their products by a model of tiles and L2 (`bench.product_model`), the same for all sides.

The bars: at most 1.02 of the floor, where a processor has as many tokens as 8,192 give it on an
H100, and never above Liger; a norm's forward in one launch, and in its backward one pass over what
it normed; of the losses, no more bytes than Liger moves; of the cross-entropy, bytes beside the
outputs (loss and gradients) under 1/20 of the bf16 logits, and half as many for half the tokens. A
missed one is printed, and the exit code is 1. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from bench.kernel_launches import MODELS, TOKENS
from bench.liger import usable
from bench.traffic_tables import SIDES, assumptions, elements_table, products_table
from marco.errors import nearest
from marco.kernels.chips import CHIPS

ELEMENT_OPS = ("rms_norm", "rms_norm of heads", "add_rms_norm", "rope", "swiglu")
PRODUCT_OPS = ("linear_cross_entropy", "linear_distillation, js")
NORMS = ELEMENT_OPS[:3]
PASSES = ("forward", "backward")
FLOOR_BAR = 1.02
#: Tokens a processor from which that bar holds: with fewer, weights and their gradients weigh more.
FLOOR_BAR_TOKENS = TOKENS / CHIPS["h100"].processors
LOGITS_BAR = 1 / 20
#: The model whose shape the bar on bytes is set for: hidden 3,584, vocabulary 152,064.
BYTES_MODEL = "7b"


def main() -> None:
    """Print what is assumed, both tables, the bars that are missed, and the JSON line."""
    given = _arguments()
    given.liger = given.liger and usable()
    share = given.tokens / CHIPS[given.chip].processors
    children = [
        _start(module, interpret, [op for op in given.ops if op in known], given)
        for module, interpret, known in (
            ("bench.element_traffic", "1", ELEMENT_OPS),
            ("bench.product_traffic", "0", PRODUCT_OPS),
        )
    ]
    elements, products = (_last_line(child) for child in children)
    found = {op: element_row(measured) for op, measured in elements.items()}
    found |= {op: product_row(measured) for op, measured in products.items()}
    _print(assumptions(given.model, given.tokens, CHIPS[given.chip]))
    _print(elements_table({op: found[op] for op in elements}))
    _print(products_table({op: found[op] for op in products}))
    misses = [line for op, row in found.items() for line in missed(op, row, given.model, share)]
    for line in misses:
        print(f"MISSES {line}")
    for op in elements:
        if share < FLOOR_BAR_TOKENS and found[op]["floor_ratio"] > FLOOR_BAR:
            print(
                f"{op}: moves {found[op]['floor_ratio']:.4f} of its floor. No miss: the bar of "
                f"{FLOOR_BAR} is for {FLOOR_BAR_TOKENS:.3g} tokens a processor, not {share:.3g}."
            )
    print(json.dumps(found, sort_keys=True))
    sys.exit(1 if misses else 0)


def _start(
    module: str, interpret: str, ops: list[str], given: argparse.Namespace
) -> subprocess.Popen[str]:
    """A part of the bench: the interpreter and the compiler do not live in one process."""
    command = [sys.executable, "-m", module, "--model", given.model, "--ops", ";".join(ops)]
    command += ["--chip", given.chip, "--tokens", str(given.tokens)]
    environment = {**os.environ, "TRITON_INTERPRET": interpret}
    return subprocess.Popen(
        [*command, *(["--liger"] if given.liger else [])],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _last_line(child: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = child.communicate()
    if child.returncode:
        sys.exit(f"{' '.join(map(str, child.args))} failed, see above.")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def element_row(measured: dict[str, Any]) -> dict[str, Any]:
    """The JSON of an op that was interpreted: its floor and what is moved are of all tokens."""
    row: dict[str, Any] = {key: measured[key] for key in ("inputs", "processors", "floor")}
    for prefix, side in SIDES.items():
        both = [measured[side][name] for name in PASSES] if side in measured else []
        row[f"{prefix}launches"] = sum(x["launches"] for x in both) or None
        for key, of in (("floor_ratio", "moved"), ("cached_ratio", "cached")):
            moved, floor = (sum(x[name] for x in both) for name in (of, "floor"))
            row[prefix + key] = moved / floor if both else None
        row[f"{prefix}moved"] = round(row[f"{prefix}floor_ratio"] * row["floor"]) if both else None
        for name, x in zip(PASSES, both, strict=False):
            row[f"{prefix}{name}_ratio"] = x["moved"] / x["floor"]
            row[f"{prefix}{name}_accesses"] = x["accesses"]
    row["forward_launches"] = measured["ours"]["forward"]["launches"]
    row["reads_of_source_in_backward"] = measured["ours"]["reads_of_source"]
    row["interpreted_floor"] = sum(measured["ours"][name]["floor"] for name in PASSES)
    return row


def product_row(measured: dict[str, Any]) -> dict[str, Any]:
    """The JSON of an op that was modelled, at all tokens and at half of them."""
    row: dict[str, Any] = {"tokens_of_half": measured["ours"][1]["tokens"]}
    for prefix, side in SIDES.items():
        whole, half = measured.get(side, (None, None))
        row[f"{prefix}floor_ratio"] = whole and whole["moved"] / whole["floor"]
        for key in ("launches", "flops", "moved", "bytes_beside_outputs", "kernels"):
            row[prefix + key] = whole and whole[key]
        row[f"{prefix}bytes_beside_outputs_of_half"] = half and half["bytes_beside_outputs"]
    return row | {key: measured["ours"][0][key] for key in ("tokens", "inputs", "logits_bytes")}


def missed(op: str, row: dict[str, Any], model: str, tokens_a_processor: float) -> list[str]:
    """The bars that an op misses, a line each."""
    lines = []
    if op in ELEMENT_OPS:
        ratio, liger = row["floor_ratio"], row["liger_floor_ratio"]
        if ratio > FLOOR_BAR and tokens_a_processor >= FLOOR_BAR_TOKENS:
            lines.append(f"{op}: moves {ratio:.4f} of its floor, the bar is {FLOOR_BAR}{_why(row)}")
        if liger is not None and ratio > liger:
            lines.append(f"{op}: moves {ratio:.4f} of its floor, Liger {liger:.4f}")
    if op in NORMS and row["forward_launches"] != 1:
        lines.append(f"{op}: {row['forward_launches']} launches in the forward, the bar is 1")
    if op in NORMS and row["reads_of_source_in_backward"] > 1:
        times = row["reads_of_source_in_backward"]
        lines.append(f"{op}: its backward reads what was normed {times:.2f} times, the bar is 1")
    if op in PRODUCT_OPS and row["liger_moved"] is not None and row["moved"] > row["liger_moved"]:
        lines.append(f"{op}: moves {row['moved']:,} bytes, Liger {row['liger_moved']:,}")
    if op == "linear_cross_entropy":
        beside, half = row["bytes_beside_outputs"], row["bytes_beside_outputs_of_half"]
        bar = LOGITS_BAR * row["logits_bytes"]
        if model == BYTES_MODEL and beside >= bar:
            lines.append(f"{op}: {beside:,} bytes beside its outputs, the bar is {bar:,.0f}")
        if beside > 1.025 * half * row["tokens"] / row["tokens_of_half"]:
            lines.append(f"{op}: {beside:,} bytes beside its outputs, of half the tokens {half:,}")
    return lines


def _why(row: dict[str, Any]) -> str:
    """The accesses that cost at least a thousandth of the floor and are none of it."""
    reasons = []
    for access in (*row["forward_accesses"], *row["backward_accesses"]):
        once = 0 if access["between"] else access["moved"] / max(access["times"], 1)
        if access["moved"] - once >= row["interpreted_floor"] / 1000:
            reasons.append(
                f"{access['kernel']} {access['does']} {access['argument']} "
                f"{access['times']:.3g} times, {access['moved']:,} bytes"
            )
    return "".join(f"\n  {reason}" for reason in reasons)


def _print(shown: Any) -> None:
    from rich.console import Console

    if isinstance(shown, str) or shown.row_count:
        Console(width=None if sys.stdout.isatty() else 200).print(shown, highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = (*ELEMENT_OPS, *PRODUCT_OPS)
    parser.add_argument("--model", default="7b", help=f"one of {', '.join(MODELS)}: %(default)s")
    parser.add_argument("--chip", default="h100", help=f"one of {', '.join(CHIPS)}: %(default)s")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="%(default)s")
    parser.add_argument("--ops", default=";".join(known), help="of %(default)s")
    parser.add_argument("--no-liger", dest="liger", action="store_false")
    given = parser.parse_args()
    given.ops = [op.strip() for op in given.ops.split(";")]
    for option, names, allowed in (
        ("model", [given.model], MODELS),
        ("chip", [given.chip], CHIPS),
        ("ops", given.ops, known),
    ):
        for name in names:
            if name not in allowed:
                hint = nearest(name, allowed)
                sys.exit(
                    f"--{option}: {name!r} is not known.{hint} There are {'; '.join(allowed)}."
                )
    if given.tokens < 1:
        sys.exit(f"--tokens must be at least 1, not {given.tokens}.")
    return given


if __name__ == "__main__":
    main()
