"""Planned memory of a CPU run beside what its process held at the most.

    python -m bench.plan_memory [--smollm2 models/smollm2-135m] [--tokens 16384] [overrides …]

The runs are `train.py` itself, with evaluations and checkpoints, cut to so many tokens: the peak is
reached after three steps. Measured is the peak of resident memory above the process's baseline: a
process that has imported every module the run had imported at its end, and done nothing else.
The last line is JSON. `--smollm2` adds the second experiment; `make smollm2` prepares its weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marco.config import bind_all, compose
from marco.planning.options import PlanOptions
from marco.planning.plan import plan_of

ROOT = Path(__file__).parents[1]
CHILD = Path(__file__).with_name("plan_memory_child.py")


def measure(overrides: Sequence[str], folder: Path) -> dict[str, Any]:
    """Bytes of one run: `planned` by part, its `peak`, the `baseline`, and what is `above` it.

    Raises:
        CalledProcessError: the run failed; what it said is on stderr.
    """
    peak = _child(folder, "run", *overrides, f"paths.runs={folder / 'runs'}")
    baseline = _child(folder, "imports")
    memory = plan_of(bind_all(compose(list(overrides))), PlanOptions(device="cpu"))["memory"]
    planned, above = memory["process"]["total"], peak - baseline
    return {
        "planned": planned,
        "above": above,
        "error": planned / above - 1,
        "peak": peak,
        "baseline": baseline,
        "parts": memory["process"],
    }


def _child(folder: Path, *arguments: str) -> int:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(CHILD), str(folder), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smollm2", type=Path)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    runs = {"udhr_tiny": ["experiment=udhr_tiny"]}
    if given.smollm2 is not None:
        path = given.smollm2.expanduser().resolve()
        runs["smollm2"] = ["experiment=smollm2_swahili_yoruba", f"model.path={path}"]
    found = {}
    for name, chosen in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            overrides = [*chosen, f"tokens={given.tokens}", *given.overrides]
            found[name] = measure(overrides, Path(folder))
        one = found[name]
        print(
            f"{name}: planned {one['planned'] / 1e6:,.0f} MB, measured {one['above'] / 1e6:,.0f} "
            f"above {one['baseline'] / 1e6:,.0f} ({one['error']:+.0%})",
            flush=True,
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
