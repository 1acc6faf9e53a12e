"""Every Triton kernel, compiled for GPUs that need not be here, and what became of it.

    python -m bench.kernel_compile [--models 0.5b,7b] [--chips h100] [--dtype bfloat16] [--space]

The ops' own launching code runs on meta tensors of the model's shapes (`bench.kernel_launches`);
each launch is compiled as Triton's JIT would on that chip, and its machine code is read
(`bench.kernel_binaries`). Liger's kernels go the same way, where it is installed. One of ours fails
for bytes spilled, shared memory beyond the chip's, fp64 instructions, and where more than a quarter
of the bytes that its loops fetch, or half of what a kernel without a loop does, come one element at
a time; then the exit code is 1. Launches that compile to the same code are shown once. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

CHIPS = ("a100", "h100", "b200", "mi300x")
SCALAR_SHARE = 0.25
#: Without a loop, what a program needs once counts as well: of rope's loads at 0.5B a third are the
#: angles on an MI300X, 32 numbers for 64 threads.
SCALAR_SHARE_UNLOOPED = 0.5
#: No space of `marco.kernels.spaces` is larger.
MOST_CANDIDATES = 4


def main() -> None:
    """Compile all, print a row for each, then what fails and the JSON line."""
    if os.environ.pop("TRITON_INTERPRET", "0") != "0":
        # The interpreter and the compiler do not live in one process.
        os.execv(sys.executable, [sys.executable, "-m", "bench.kernel_compile", *sys.argv[1:]])
    given = _arguments()
    from rich.console import Console
    from rich.table import Table

    from bench.liger import usable

    sides = ("ours", "liger") if given.liger and usable() else ("ours",)
    found = [row for side in sides for row in _compile_all(side, given)]
    columns = ("chip", "by", "op", "kernel", "models", "regs", "spill", "shared", "occ.")
    table = Table(*columns, "loads in loops", "elsewhere", "matrix")
    for row in found:
        table.add_row(
            row["chip"],
            row["by"],
            row["op"],
            row["kernel"],
            " ".join(row["models"]),
            *(["-"] * 4 if "error" in row else _numbers(row)),
            *(["-"] * 3 if "error" in row else map(_counts, _three(row))),
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    failures = [row for row in found if row["by"] == "ours" and row["fails"]]
    for row in failures:
        print(f"FAILS on {row['chip']}: {row['op']}, {row['kernel']}: {'; '.join(row['fails'])}")
    print(json.dumps({"kernels": found, "failures": len(failures)}, sort_keys=True))
    sys.exit(1 if failures else 0)


def _compile_all(side: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each kernel that differs, in order."""
    import torch

    from bench import kernel_launches
    from bench.kernel_binaries import compiled, source_and_options
    from marco.kernels import chips

    ops = kernel_launches.our_ops if side == "ours" else kernel_launches.liger_ops
    dtype = getattr(torch, given.dtype)
    rows: dict[Any, dict[str, Any]] = {}
    for name in given.chips:
        chip = chips.CHIPS[name]
        for model in given.models:
            for op, (run, inputs) in ops(model, dtype).items():
                if given.ops and op not in given.ops:
                    continue
                candidates = MOST_CANDIDATES if given.space and side == "ours" else 1
                for launch in _launches(run, inputs, chip, candidates):
                    source, options, _ = source_and_options(launch, chip)
                    row = rows.get(key := (name, source.hash(), options.hash()))
                    if row is None:
                        row = rows[key] = {"chip": name, "by": side, "op": op, "models": []}
                        row["kernel"] = launch.name
                        row["options"] = choices(launch) if given.space else {}
                        try:
                            binary = compiled(launch, chip)
                        except Exception as error:  # whatever a compiler raises is its verdict
                            row["error"] = str(error)[:500]
                            row["fails"] = [f"does not compile: {str(error)[:200]}"]
                        else:
                            row |= vars(binary)
                            row["fails"] = fails(binary, chip, dtype.itemsize)
                        print(f"{name} {model} {side} {op}: {launch.name}", file=sys.stderr)
                    if model not in row["models"]:
                        row["models"].append(model)
    return list(rows.values())


def _launches(run: Any, inputs: Any, chip: Any, candidates: int) -> Iterator[Any]:
    """Of an op, with each candidate of its kernels' spaces in turn."""
    from bench.kernel_launches import record
    from marco.kernels.tuning import preferring

    for number in range(candidates):
        with preferring(number):
            yield from record(run, inputs, chip)


def choices(launch: Any) -> dict[str, Any]:
    """What a launch was given by name and can be shown: Liger gives tensors that way too."""
    shown = (bool, int, float, str)
    return {name: given for name, given in launch.options.items() if isinstance(given, shown)}


def fails(binary: Any, chip: Any, element: int) -> list[str]:
    """What is wrong with a kernel of operands of `element` bytes: nothing, or a line each."""
    wrong = []
    if binary.spills:
        wrong.append(f"{binary.spills} bytes spilled")
    if binary.shared > chip.shared_a_block:
        wrong.append(f"{binary.shared} bytes of shared memory, the chip has {chip.shared_a_block}")
    if binary.doubles:
        wrong.append(f"{binary.doubles} fp64 instructions")
    loads = binary.loop_loads or binary.loads
    fetched = sum(size * count for size, count in loads.items())
    single = sum(size * count for size, count in loads.items() if size <= element)
    share, where = SCALAR_SHARE_UNLOOPED, "its"
    if binary.loop_loads:
        share, where = SCALAR_SHARE, "a loop's"
    if single > share * fetched:
        wrong.append(f"{single / fetched:.0%} of {where} loads come an element at a time")
    return wrong


def _numbers(row: dict[str, Any]) -> list[str]:
    shared = f"{row['shared'] / 1024:.0f} K"
    return [str(row["registers"]), str(row["spills"]), shared, f"{row['occupancy']:.0%}"]


def _three(row: dict[str, Any]) -> list[dict[Any, int]]:
    return [row["loop_loads"], row["loads"], row["matrix"]]


def _counts(found: dict[Any, int]) -> str:
    """`24×16 1×4`: 24 loads of 16 bytes and one of 4."""
    return " ".join(f"{count}×{name}" for name, count in sorted(found.items(), reverse=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    from bench.kernel_launches import MODELS
    from marco.errors import nearest

    known = {"models": tuple(MODELS), "chips": CHIPS}
    for option, names in known.items():
        parser.add_argument(f"--{option}", default=",".join(names), help="default: %(default)s")
    parser.add_argument("--ops", default="", help="some ops only, separated by semicolons")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument(
        "--space", action="store_true", help="every candidate that tuning may choose"
    )
    parser.add_argument("--no-liger", dest="liger", action="store_false")
    given = parser.parse_args()
    for option, names in known.items():
        chosen = list(dict.fromkeys(name.strip() for name in getattr(given, option).split(",")))
        for name in chosen:
            if name not in names:
                hint = nearest(name, names)
                sys.exit(f"--{option}: {name!r} is not known.{hint} There are {', '.join(names)}.")
        setattr(given, option, chosen)
    given.ops = [op.strip() for op in given.ops.split(";") if op.strip()]
    import torch

    from bench.kernel_launches import our_ops

    ops = tuple(our_ops(given.models[0], torch.bfloat16))
    for name in given.ops:
        if name not in ops:
            sys.exit(
                f"--ops: {name!r} is not known.{nearest(name, ops)} There are {'; '.join(ops)}."
            )
    return given


if __name__ == "__main__":
    main()
