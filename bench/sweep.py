"""What a sweep costs beside the same runs started by hand, as many at a time.

python -m bench.sweep [--runs 12] [--at-once 2]

By hand is a `python train.py …` for each run, each on an even share of the cores; the sweep is one
`python train.py hydra/launcher=parallel` over the same seeds. The runs are tiny, so that what is
measured is what stands around them. Prints both times and their ratio.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TRAIN = Path(__file__).parents[1] / "train.py"
TINY = ("debug=fast", "logger=none", "tokens=4096", "data.languages=[eng,swh,tha]")


def run(folder: Path, threads: int | None, *overrides: str) -> None:
    """One command; its output is only shown where it fails."""
    own = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    kept = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, str(TRAIN), *TINY, *overrides]
    done = subprocess.run(
        command, cwd=folder, env={**kept, **own}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def by_hand(folder: Path, runs: int, at_once: int) -> float:
    """Seconds for the runs, each a command, `at_once` of them beside each other."""
    threads = max(1, len(os.sched_getaffinity(0)) // at_once)
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda seed: run(folder, threads, f"seed={seed}"), range(1, runs + 1)))
    return time.perf_counter() - began


def as_sweep(folder: Path, runs: int, at_once: int) -> float:
    """Seconds for the same runs as one sweep."""
    seeds = ",".join(map(str, range(1, runs + 1)))
    began = time.perf_counter()
    run(
        folder,
        None,
        "hydra.mode=MULTIRUN",
        "hydra/launcher=parallel",
        f"hydra.launcher.n_jobs={at_once}",
        f"seed={seeds}",
    )
    return time.perf_counter() - began


def finished(folder: Path) -> int:
    return len(list(folder.glob("runs/**/summary.json")))


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--at-once", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        seconds = {}
        run(Path(name), None, "tokens=512")  # the vocabulary is trained once, and files are read
        for label, measure in (("by hand", by_hand), ("sweep", as_sweep)):
            folder = Path(name, label.replace(" ", "-"))
            folder.mkdir()
            seconds[label] = measure(folder, given.runs, given.at_once)
            if finished(folder) != given.runs:
                sys.exit(f"{label}: {finished(folder)} of {given.runs} runs finished.")
            print(f"{label:8} {seconds[label]:7.1f} s", flush=True)
    ratio = seconds["sweep"] / seconds["by hand"]
    print(f"{given.runs} runs, {given.at_once} at a time: the sweep takes {ratio:.2f} of by hand.")


if __name__ == "__main__":
    main()
