"""A roofline model of the fused ops and of whole training steps, on GPUs that need not be here.

    python -m bench.roofline [--models 0.5b,7b] [--chips h100] [--rows 2] [--length 4096]

Traffic and matrix products are counted on meta tensors (`bench.roofline_ops`): ours, and eager
torch's or transformers' layers as they come, whose every op is a kernel of its own. Time is traffic
or products, whichever is longer, at stated shares of the data sheet's rates
(`marco.planning.roofline`). One device, whatever fits; no communication. A model, not a
measurement: `python -m bench.gpu` measures. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from transformers import Qwen2Config

from bench.roofline_ops import OPS, op_works
from marco.errors import nearest
from marco.kernels.chips import CHIPS, Chip
from marco.planning.roofline import Efficiency, Work, seconds
from marco.planning.trace import trace_step

CONF = Path(__file__).parent.parent / "conf" / "model"
MODELS = {size: f"qwen2_{size.replace('.', '_')}" for size in ("0.5b", "1.5b", "7b", "72b")}
SHAPE = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "tie_word_embeddings",
)


def config_of(model: str) -> Qwen2Config:
    """transformers' config of a Qwen2 size, from `conf/model`."""
    found = yaml.safe_load((CONF / f"{MODELS[model]}.yaml").read_text())
    return Qwen2Config(**{key: found[key] for key in SHAPE})


def step_works(
    model: str, config: Qwen2Config, rows: int, length: int, chips: Sequence[Chip]
) -> dict[str, tuple[list[Work], list[Work]]]:
    """By chip: a step's kernels, ours and transformers'; our loss as `op_works` has it."""
    fused, plain = (trace_step(config, rows, length, fused=fused) for fused in (True, False))
    rest = [work for work in fused if not work.name.startswith("marco::linear_cross_entropy")]
    losses = {
        chip.name: op_works("linear_cross_entropy", model, rows, length, chip)[0] for chip in chips
    }
    return {name: (rest + loss, plain) for name, loss in losses.items()}


def main() -> None:
    """Print both tables, then the JSON line."""
    given = _arguments()
    efficiency = Efficiency(given.bandwidth_efficiency, given.matrix_efficiency)
    tokens = given.rows * given.length
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(
        f"Assumed: {efficiency.bandwidth:.0%} of the memory's bandwidth, {efficiency.matrix:.0%} "
        f"of the matrix units' dense rate, {given.rows} × {given.length} tokens, bf16.\n"
        "Losses, our step's too: by launches and bench.kernel_traffic's model of tiles and L2.\n"
        "All else, linear layers and the plain step's head too: every operand once a kernel, for "
        "marco.planning traces shapes and sees no launches."
    )
    ops = Table("op (forward + backward)", "model", "ours MB", "unfused MB", "chip")
    for column in ("ours ms", "unfused ms", "ratio"):
        ops.add_column(column)
    steps = Table("step", "chip", "ours ms", "unfused ms", "ratio", "tokens/s", "MFU")
    found: dict[str, Any] = {"ops": {}, "steps": {}}
    chips = [CHIPS[name] for name in given.chips]
    for model in given.models:
        for name in OPS:
            for chip in chips:
                work = op_works(name, model, given.rows, given.length, chip)
                moved = [sum(one.bytes for one in side) for side in work]
                times = [seconds(side, chip, efficiency) for side in work]
                found["ops"].setdefault(name, {})[f"{model} {chip.name}"] = {
                    **_pair(times),
                    "bytes": moved[0],
                    "unfused_bytes": moved[1],
                    "flops": sum(one.flops for one in work[0]),
                    "unfused_flops": sum(one.flops for one in work[1]),
                }
                megabytes = (f"{x / 1e6:,.0f}" for x in moved)
                ops.add_row(name, model, *megabytes, chip.name, *_cells(times))
        works = step_works(model, config_of(model), given.rows, given.length, chips)
        for chip in chips:
            sides = works[chip.name]
            times = [seconds(side, chip, efficiency) for side in sides]
            # Of the plain step: what is made twice is not useful work.
            useful = sum(work.flops for work in sides[1])
            mfu = useful / times[0] / chip.matrix_rates["bfloat16"]
            found["steps"][f"{model} {chip.name}"] = {
                **_pair(times),
                "tokens_per_second": tokens / times[0],
                "mfu": mfu,
            }
            steps.add_row(
                model, chip.name, *_cells(times), f"{tokens / times[0]:,.0f}", f"{mfu:.0%}"
            )
    console.print(ops)
    console.print(steps)
    print(json.dumps(found, sort_keys=True))


def _pair(times: list[float]) -> dict[str, float]:
    return {"seconds": times[0], "unfused_seconds": times[1], "ratio": times[1] / times[0]}


def _cells(times: list[float]) -> list[str]:
    return [f"{1e3 * times[0]:.3g}", f"{1e3 * times[1]:.3g}", f"{times[1] / times[0]:.2f}"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(MODELS), help="of %(default)s")
    parser.add_argument("--chips", default=",".join(CHIPS), help="of %(default)s")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--bandwidth-efficiency", type=float, default=Efficiency.bandwidth)
    parser.add_argument("--matrix-efficiency", type=float, default=Efficiency.matrix)
    given = parser.parse_args()
    for option, known in (("models", MODELS), ("chips", CHIPS)):
        names = list(dict.fromkeys(getattr(given, option).split(",")))
        for name in names:
            if name not in known:
                hint = nearest(name, known)
                sys.exit(f"--{option}: {name!r} is not known.{hint} There are {', '.join(known)}.")
        setattr(given, option, names)
    for option in ("bandwidth_efficiency", "matrix_efficiency"):
        if not 0 < getattr(given, option) <= 1:
            sys.exit(f"--{option.replace('_', '-')} must lie between 0 and 1.")
    if given.rows < 1 or given.length < 1:
        sys.exit("--rows and --length must be at least 1.")
    return given


if __name__ == "__main__":
    main()
