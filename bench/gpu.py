"""Every kernel on the GPU that is here: right or wrong, and how fast beside its peers.

    python -m bench.gpu [--quick] [--models 0.5b,7b] [--ops rms_norm;swiglu] [--dtype bfloat16]

For CUDA and ROCm. Each op is held against float64 by the rule of the kernel tests, forward and
every gradient, and timed beside torch eager, torch.compile and, where they are installed, Liger
(`pip install -e ".[bench]"`) and flash-attn: medians of Triton's `do_bench` over inputs that
rotate. That counts the launches too, which for small ops is mostly Python; `device busy` is what
the kernels alone take, by torch's profiler, and is what `/ ours` divides. Then training steps of
whole models: tokens/s, MFU and peak memory. `--quick`, meant to answer "ours or Liger's" in about a
minute, times for less long, without torch.compile and without steps. A contender that fails is
shown with its reason. Exit code 1 where one of our ops is wrong or could not be checked, 2 where
there is no GPU. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.gpu_machine import Machine

NO_GPU = (
    "bench.gpu needs a CUDA or ROCm GPU that torch sees, and torch.cuda.is_available() says there "
    "is none. bench.kernel_compile, bench.kernel_traffic and bench.roofline need none."
)
PACKAGES = ("torch", "transformers", "liger-kernel", "flash-attn")
DTYPES = ("bfloat16", "float16", "float32")
PRECISIONS = ("bf16-autocast", "bf16-master")
#: By the driver's name: the chips that `bench.roofline` has a model of (`marco.kernels.chips`).
MODELLED = {
    "NVIDIA A100-SXM4-80GB": "a100",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H200": "h200",
    "NVIDIA B200": "b200",
    "AMD Instinct MI300X": "mi300x",
}


def main() -> None:
    """Measure, print, and leave with the exit code."""
    # Triton asks for it where a kernel is defined: before any is imported.
    os.environ.pop("TRITON_INTERPRET", None)
    given = checked(_parser().parse_args())
    import torch

    if not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        sys.exit(2)
    from bench.gpu_machine import gpu

    sys.exit(run(given, gpu(given.quick)))


def run(given: argparse.Namespace, machine: Machine) -> int:
    """Measure on a machine and print; returns the exit code."""
    from rich.console import Console

    from bench.gpu_tables import failures, ops_table, steps_table, without_nan
    from marco.tracking.devices import find_device

    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(f"{machine.name}; {', '.join(f'{k} {v}' for k, v in versions().items())}")
    ops, steps = measure_ops(given, machine), measure_steps(given, machine)
    console.print(ops_table(ops, given.dtype, given.rows * given.length))
    if steps:
        tokens = f"{given.rows} × {given.length} tokens in packed documents"
        console.print(steps_table(steps, f"Training steps, {given.precision}, {tokens}"))
        if find_device(machine.name) is None:
            console.print(f"No MFU: the peak of {machine.name} is not known to marco.")
    wrong = list(failures(ops))
    for line in wrong:
        print(f"FAILS {line}")
    found = {"chip": machine.name, "versions": versions(), "ops": ops, "steps": steps}
    print(json.dumps(without_nan(found | {"failures": wrong}), sort_keys=True, allow_nan=False))
    return 1 if wrong else 0


def measure_ops(given: argparse.Namespace, machine: Machine) -> dict[str, Any]:
    """Op → model → contender → `gpu_contest.contest`'s row; `model_ms` is the roofline model's."""
    import torch

    from bench.gpu_contest import contest

    found: dict[str, Any] = {name: {} for name in given.ops}
    tokens, dtype = given.rows * given.length, getattr(torch, given.dtype)
    for model in given.models:
        expected = _modelled_ops(model, given, machine)
        for name in given.ops:
            print(f"{model} {name}", file=sys.stderr)
            rows = contest(name, model, dtype, tokens, machine, compiling=not given.quick)
            found[name][model] = _with_model(rows, expected.get(name, {}))
            machine.free()
    return found


def measure_steps(given: argparse.Namespace, machine: Machine) -> dict[str, Any]:
    """Model → contender → `gpu_step.train`'s row; `model_ms` is the roofline model's."""
    from bench.gpu_contest import attempt
    from bench.gpu_step import contenders, train
    from bench.roofline import config_of

    found: dict[str, Any] = {}
    shape = {"rows": given.rows, "length": given.length, "precision": given.precision}
    for model in given.step_models:
        config = config_of(model)
        rows = {}
        for by, contender in contenders().items():
            print(f"step {model} {by}", file=sys.stderr)
            rows[by] = attempt(
                lambda one=contender, of=config: train(
                    one, of, machine, steps=given.steps, **shape
                ),
                machine,
            )
            machine.free()  # of models, which hold themselves
        found[model] = _with_model(rows, _modelled_step(model, config, given, machine))
    return found


def _with_model(rows: dict[str, Any], milliseconds: dict[str, float]) -> dict[str, Any]:
    for by in rows.keys() & milliseconds.keys():
        rows[by]["model_ms"] = milliseconds[by]
    return rows


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    import torch
    import triton

    found = {"cuda": torch.version.cuda, "hip": torch.version.hip}
    found = {name: number for name, number in found.items() if number is not None}
    found["triton"] = triton.__version__  # its package has another name for ROCm
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _modelled_ops(
    model: str, given: argparse.Namespace, machine: Machine
) -> dict[str, dict[str, float]]:
    """Op → contender → milliseconds by the roofline model, in bf16 on chips that it knows."""
    from bench.roofline_ops import OPS, op_works
    from marco.kernels.chips import CHIPS
    from marco.planning.roofline import Efficiency, seconds

    chip = CHIPS.get(MODELLED.get(machine.name, ""))
    if chip is None or given.dtype != "bfloat16":
        return {}
    works = {
        name: op_works(name, model, given.rows, given.length, chip)
        for name in given.ops
        if name in OPS and name != "attention"  # the model's rows are not packed
    }
    return {
        name: {
            by: 1e3 * seconds(work, chip, Efficiency())
            for by, work in zip(("ours", "torch"), sides, strict=True)
        }
        for name, sides in works.items()
    }


def _modelled_step(
    model: str, config: Any, given: argparse.Namespace, machine: Machine
) -> dict[str, float]:
    """Contender → milliseconds by the roofline model, which is of bf16 weights."""
    from bench.roofline import step_works
    from marco.kernels.chips import CHIPS
    from marco.planning.roofline import Efficiency, seconds

    chip = CHIPS.get(MODELLED.get(machine.name, ""))
    if chip is None or given.precision != "bf16-master":
        return {}
    works = step_works(model, config, given.rows, given.length, [chip])[chip.name]
    return {
        by: 1e3 * seconds(work, chip, Efficiency())
        for by, work in zip(("triton", "reference"), works, strict=True)
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="no torch.compile, no steps")
    parser.add_argument("--models", default="0.5b,7b", help="shapes of ops: %(default)s")
    parser.add_argument("--ops", default="", help="some only, separated by semicolons")
    parser.add_argument("--dtype", default=DTYPES[0], choices=DTYPES, help="of ops: %(default)s")
    parser.add_argument("--step-models", default="0.5b,1.5b", help="or none: %(default)s")
    parser.add_argument("--precision", default=PRECISIONS[0], choices=PRECISIONS, help="of steps")
    parser.add_argument("--rows", type=int, default=2, help="%(default)s")
    parser.add_argument("--length", type=int, default=4096, help="tokens a row: %(default)s")
    parser.add_argument("--steps", type=int, default=10, help="that are timed: %(default)s")
    return parser


def checked(given: argparse.Namespace) -> argparse.Namespace:
    """The command line with lists of known names; exits with a message where it is wrong."""
    for option in ("rows", "length", "steps"):
        if getattr(given, option) < 1:
            sys.exit(f"--{option} must be at least 1.")
    from bench.gpu_ops import OPS
    from bench.kernel_launches import MODELS
    from bench.roofline import MODELS as CONFIGS

    given.models = _names("models", given.models.split(","), MODELS)
    given.ops = _names("ops", given.ops.split(";"), OPS) or list(OPS)
    given.step_models = _names("step-models", given.step_models.split(","), CONFIGS)
    if given.quick:
        given.step_models = []
    return given


def _names(option: str, words: list[str], known: Iterable[str]) -> list[str]:
    from marco.errors import nearest

    names = [word.strip() for word in words if word.strip()]
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            sys.exit(f"--{option}: {name!r} is not known.{hint} There are {', '.join(known)}.")
    return names


if __name__ == "__main__":
    main()
