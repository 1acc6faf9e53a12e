"""Training steps on a CPU: ours and transformers', in alternation, each in its own process.

    python -m bench.train_step [--rounds 5] [--steps 3] [--shapes A,B]

A step is forward, backward and a fused AdamW update under bf16 autocast, on the same random tokens.
`eager` is transformers as a user would start it, `eager_same_allocator` the same with our allocator
setting, `compile` has its decoder layers compiled by torch.compile. Each round starts every
contender once; the ratios are of medians over rounds. Memory is the process' peak resident size
above what it had before the model was built, less weights, gradients and optimizer state. The
roofline is the linear layers' and head's products alone, at the same shapes, in our process.
The last lines are JSON, one a shape.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median
from typing import Any

CONTENDERS = ("ours", "eager", "eager_same_allocator", "compile")


def run(contender: str, shape: str, steps: int) -> dict[str, Any]:
    """One contender in a process of its own."""
    command = [sys.executable, "-m", "bench.train_step_contender", contender, shape, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{contender} on shape {shape} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure, print what came out, then the JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--shapes", default="A,B")
    given = parser.parse_args()
    lines = []
    for shape in given.shapes.split(","):
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
        for number in range(given.rounds):
            for name in CONTENDERS:
                result = run(name, shape, given.steps)
                results[name].append(result)
                print(
                    f"{shape} round {number + 1} {name:<21} {result['seconds']:.3f} s a step, "
                    f"{result['memory'] / 1e6:,.0f} MB above state",
                    flush=True,
                )
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


if __name__ == "__main__":
    main()
