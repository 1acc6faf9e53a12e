"""A roofline model of the fused ops and of whole training steps, on GPUs that need not be here.

    python -m bench.roofline [--models 0.5b,7b] [--chips h100] [--rows 2] [--length 4096]

Traffic and matrix products are counted on meta tensors (`marco.planning.trace`): ours, and
transformers' layers as they come, whose every op is a kernel of its own. Time is traffic or
products, whichever is longer, at stated shares of the data sheet's rates
(`marco.planning.roofline`). One device, whatever fits; no communication. A model, not a
measurement: `python -m bench.gpu` measures. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import Qwen2Config

from marco.errors import nearest
from marco.kernels.add_rms_norm import add_rms_norm, add_rms_norm_naive
from marco.kernels.chips import CHIPS
from marco.kernels.linear_cross_entropy import linear_cross_entropy_naive
from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton
from marco.kernels.rms_norm import rms_norm, rms_norm_naive
from marco.kernels.rope import rope, rope_naive
from marco.kernels.swiglu import swiglu, swiglu_naive
from marco.planning.roofline import Efficiency, Work, seconds
from marco.planning.trace import trace, trace_step

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


def op_pairs(
    config: Qwen2Config, tokens: int
) -> dict[str, tuple[Callable[..., Any], Callable[..., Any], list[Tensor]]]:
    """Each fused op, its plain twin, and their inputs on meta tensors."""

    def leaf(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.bfloat16, device="meta", requires_grad=True)

    width, inner = config.hidden_size, config.intermediate_size
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    head_dim = width // heads
    x, weight = leaf(tokens, width), leaf(width)
    table = leaf(1, tokens, head_dim).detach()
    q, k = leaf(1, tokens, heads, head_dim), leaf(1, tokens, kv_heads, head_dim)
    targets = torch.empty(tokens, dtype=torch.int64, device="meta")
    head = leaf(config.vocab_size, width)
    return {
        "rms_norm": (
            lambda x, w: rms_norm(x, w, 1e-6),
            lambda x, w: rms_norm_naive(x, w, 1e-6),
            [x, weight],
        ),
        "add_rms_norm": (
            lambda x, r, w: add_rms_norm(x, r, w, 1e-6),
            lambda x, r, w: add_rms_norm_naive(x, r, w, 1e-6),
            [x, leaf(tokens, width), weight],
        ),
        "rope": (rope, rope_naive, [q, k, table, table]),
        "swiglu": (swiglu, swiglu_naive, [leaf(tokens, inner), leaf(tokens, inner)]),
        "linear_cross_entropy": (
            linear_cross_entropy_triton,
            linear_cross_entropy_naive,
            [x, head, targets],
        ),
    }


def both_ways(op: Callable[..., Any], inputs: list[Tensor]) -> list[Work]:
    """Forward and backward."""

    def run() -> None:
        made = op(*inputs)
        outputs = [made] if isinstance(made, Tensor) else list(made)
        wanted = [x for x in inputs if x.requires_grad]
        torch.autograd.grad(outputs, wanted, [torch.empty_like(x) for x in outputs])

    # The incoming gradients are another kernel's to make.
    return [work for work in trace(run) if work.name != "aten::empty_like"]


def main() -> None:
    """Print both tables, then the JSON line."""
    given = _arguments()
    efficiency = Efficiency(given.bandwidth_efficiency, given.matrix_efficiency)
    tokens = given.rows * given.length
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(
        f"Assumed: {efficiency.bandwidth:.0%} of the memory's bandwidth, {efficiency.matrix:.0%} "
        f"of the matrix units' dense rate, {given.rows} × {given.length} tokens, bf16."
    )
    ops = Table("op (forward + backward)", "model", "ours MB", "unfused MB", "chip")
    for column in ("ours ms", "unfused ms", "ratio"):
        ops.add_column(column)
    steps = Table("step", "chip", "ours ms", "unfused ms", "ratio", "tokens/s", "MFU")
    found: dict[str, Any] = {"ops": {}, "steps": {}}
    for model in given.models:
        config = config_of(model)
        for name, (ours, plain, inputs) in op_pairs(config, tokens).items():
            work = both_ways(ours, inputs), both_ways(plain, inputs)
            moved = [sum(one.bytes for one in side) for side in work]
            for chip in given.chips:
                times = [seconds(one, CHIPS[chip], efficiency) for one in work]
                found["ops"].setdefault(name, {})[f"{model} {chip}"] = {
                    **_pair(times),
                    "bytes": moved[0],
                    "unfused_bytes": moved[1],
                }
                ops.add_row(name, model, *(f"{x / 1e6:,.0f}" for x in moved), chip, *_cells(times))
        fused, plain_step = (
            trace_step(config, given.rows, given.length, fused=fused) for fused in (True, False)
        )
        # Of the plain step: what is made twice is not useful work.
        useful = sum(work.flops for work in plain_step)
        for chip in given.chips:
            times = [seconds(one, CHIPS[chip], efficiency) for one in (fused, plain_step)]
            mfu = useful / times[0] / CHIPS[chip].matrix_rates["bfloat16"]
            found["steps"][f"{model} {chip}"] = {
                **_pair(times),
                "tokens_per_second": tokens / times[0],
                "mfu": mfu,
            }
            steps.add_row(model, chip, *_cells(times), f"{tokens / times[0]:,.0f}", f"{mfu:.0%}")
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
        names = getattr(given, option).split(",")
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
