"""Training steps on a CPU: ours and transformers', in alternation, each in its own process.

    python -m bench.train_step [--rounds 5] [--steps 3] [--shapes A,B]

A step is forward, backward and a fused AdamW update under bf16 autocast, on the same random tokens.
`eager` is transformers as a user would start it, `eager_same_allocator` the same with our allocator
setting, `compile` has its decoder layers compiled by torch.compile. Each round starts every
contender once; the ratios are of medians over rounds. Memory is the process' peak resident size
above what it had before the model was built, less weights, gradients and optimizer state. The
roofline is the linear layers' and head's products alone, at the same shapes, in our process.
The last lines are JSON, one a shape. It fails where a contender's loss is not eager's within
2 %: it would not have trained the same thing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from statistics import median
from typing import Any

from bench.train_step_contender import SHAPES
from marco.errors import nearest
from marco.training.waiting import SPIN_COUNT

CONTENDERS = ("ours", "eager", "eager_same_allocator", "compile")
#: Of the last losses: bf16 rounds differently in each contender.
TOLERANCE = 0.02


def run(contender: str, shape: str, steps: int) -> dict[str, Any]:
    """One contender in a process of its own."""
    command = [sys.executable, "-m", "bench.train_step_contender", contender, shape, str(steps)]
    environment = dict(os.environ)
    if contender == "ours":  # as train.py sets it
        environment.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{contender} on shape {shape} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def disagreement(losses: dict[str, float]) -> str | None:
    """What there is to say of contenders that did not train the same thing, or None."""
    eager = losses["eager"]
    if all(abs(loss - eager) <= TOLERANCE * eager for loss in losses.values()):  # not if one is NaN
        return None
    return f"the losses differ: {', '.join(f'{n} {loss:.4f}' for n, loss in losses.items())}"


def main() -> None:
    """Measure, print what came out, then the JSON lines."""
    given = _arguments()
    lines, trouble = [], []
    for shape in given.shapes:
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
        for number in range(given.rounds):
            for name in CONTENDERS:
                print(f"{shape} round {number + 1} {name:<21} ", end="", flush=True)
                result = run(name, shape, given.steps)
                results[name].append(result)
                print(
                    f"{result['seconds']:.3f} s a step, {result['memory'] / 1e6:,.0f} MB above "
                    f"state, loss {result['loss']:.4f}",
                    flush=True,
                )
        found = disagreement({name: results[name][-1]["loss"] for name in CONTENDERS})
        if found is not None:
            trouble.append(f"Shape {shape}: {found}.")
        seconds = {n: median(r["seconds"] for r in results[n]) for n in CONTENDERS}
        memory = {n: median(r["memory"] for r in results[n]) for n in CONTENDERS}
        line = {
            "model": shape,
            "ratio_eager": seconds["eager"] / seconds["ours"],
            "ratio_compile": seconds["compile"] / seconds["ours"],
            "ratio_eager_same_allocator": seconds["eager_same_allocator"] / seconds["ours"],
            "memory_above_state_ratio": memory["ours"] / memory["eager"],
            "tokens_per_second": results["ours"][0]["tokens"] / seconds["ours"],
            "matmul_roofline_fraction": median(r["roofline"] for r in results["ours"]),
        }
        lines.append(json.dumps({k: round(v, 3) if k != "model" else v for k, v in line.items()}))
    print("\n".join(lines))
    if trouble:
        sys.exit("\n".join(trouble))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="timed, after two others")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="of %(default)s")
    given = parser.parse_args()
    given.shapes = given.shapes.split(",")
    for name in given.shapes:
        if name not in SHAPES:
            hint = nearest(name, SHAPES)
            sys.exit(f"--shapes: {name!r} is not known.{hint} There are {', '.join(SHAPES)}.")
    if given.rounds < 1 or given.steps < 1:
        sys.exit("--rounds and --steps must be at least 1.")
    return given


if __name__ == "__main__":
    main()
