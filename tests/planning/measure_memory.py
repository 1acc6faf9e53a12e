"""A few steps of training in a process of its own: what they held, beside what was planned.

    python tests/planning/measure_memory.py '{"experiment": "udhr_tiny", "accumulation": 1}'

`allocated`: the most that torch's allocator had given out. `resident`: the peak of the process
above itself before the model (after a tiny one, which loads libraries and starts threads).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from marco.config import RunSettings, bind_all, compose
from marco.models.build import config_of
from marco.objectives.causal_lm import CausalLanguageModel
from marco.planning.memory import memory_of
from marco.planning.memory_trace import StepShape, step_peak
from marco.planning.network import network_of
from marco.training.allocator import keep_pages

RUNS = {
    "udhr_tiny": [],
    # A slice of SmolLM2-135M: its widths, a quarter of its layers.
    "wide": [
        "model.vocab_size=49152",
        "model.hidden_size=576",
        "model.intermediate_size=1536",
        "model.num_hidden_layers=8",
        "model.num_attention_heads=9",
        "model.num_key_value_heads=3",
        "batch.sequence_length=512",
        "batch.sequences=1",
    ],
    "first": ["model.hidden_size=24", "model.num_hidden_layers=1", "batch.sequences=1"],
}
VOCABULARY = 1024
BACKEND = "torch"


def steps(run: RunSettings, accumulation: int, count: int) -> None:
    """Train; every row is one document, as the plan takes it."""
    network = run.model.build(VOCABULARY, 0).train()
    from marco.models.kernels import install

    install(network, BACKEND)
    model = CausalLanguageModel(network, VOCABULARY, BACKEND)
    optimizer = run.optimizer.build(model)
    length = run.batch.sequence_length
    ids = torch.randint(0, VOCABULARY, (run.batch.sequences, length))
    positions = torch.arange(length).expand(ids.shape)
    for _ in range(count):
        for _ in range(accumulation):
            with torch.autocast("cpu", torch.bfloat16):
                scale = 1 / ids.numel()
                losses = model(ids, positions, ids, upstream=scale, some_ignored=False)
                loss = losses.sum() * scale
            loss.backward()
            del loss, losses
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def planned(run: RunSettings, accumulation: int) -> int:
    """Bytes of the plan."""
    shape = StepShape(
        run.batch.sequences, run.batch.sequence_length, "bf16-autocast", BACKEND, True, False
    )
    peak = step_peak(config_of(run.model, VOCABULARY), shape)
    network = network_of(run, VOCABULARY)
    return memory_of(network, "bf16-autocast", "single", 1, accumulation, peak).total


def resident(key: str) -> int:
    """VmRSS now, VmHWM at the most so far, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def allocated(run: RunSettings, accumulation: int) -> int:
    """The most that torch's CPU allocator had given out, by its profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        steps(run, accumulation, 2)
    events: Any = seen.profiler.kineto_results.events()
    now = most = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def main() -> None:
    """Print one JSON line."""
    given = json.loads(sys.argv[1])
    run = bind_all(compose(RUNS[given["experiment"]]))
    accumulation = given["accumulation"]
    keep_pages()
    steps(bind_all(compose(RUNS["first"])), 1, 2)
    before = resident("VmRSS")
    steps(run, accumulation, 3)
    peak = resident("VmHWM") - before
    found = {
        "planned": planned(run, accumulation),
        "allocated": allocated(run, accumulation),
        "resident": peak,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
