"""Every backend through train.py: it runs what it says, and learns as the reference does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import FAST, last, losses, train

TINY = (
    *FAST,
    "trainer.precision=fp32",
    "evaluation=none",
    "callbacks.language_metrics.every_n_steps=1",
    "batch.sequence_length=32",
    "batch.sequences=2",
    "batch.micro_sequences=null",
    "tokens=192",  # 3 steps
    "callbacks.checkpoint.every_tokens=null",
    "model.num_hidden_layers=1",
)
COUNT = """
import atexit, json, os, sys
def write():
    from marco.kernels.launches import LAUNCHES
    with open(os.environ["LAUNCHES_FILE"] + str(os.getpid()), "w") as file:
        json.dump(LAUNCHES, file)
atexit.register(write)
"""


@pytest.mark.parametrize(
    "trainer", ["default", pytest.param("ddp", marks=pytest.mark.soak), "fsdp2"]
)
def test_triton_trains_with_no_fallback(tmp_path: Path, trainer: str) -> None:
    """Under the interpreter: each kernel was launched, in every process, as often as it should."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(COUNT)
    how = [*TINY, f"trainer={trainer}", "trainer.precision=fp32"]
    extra = {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": str(site),
        "LAUNCHES_FILE": str(tmp_path / "launches-"),
    }
    done = train(tmp_path, *how, "kernels=triton", timeout=280, **extra)
    assert done.returncode == 0, done.stderr
    counts = [json.loads(path.read_text()) for path in tmp_path.glob("launches-*")]
    counts = [count for count in counts if count]
    assert len(counts) == (1 if trainer == "default" else 2)
    for count in counts:
        once_a_step = {"rope", "swiglu", "add_rms_norm"}
        for name in once_a_step:
            assert count[f"{name}_fwd_kernel"] == count[f"{name}_bwd_kernel"] == 3, name
        assert count["rms_norm_fwd_kernel"] == count["rms_norm_bwd_kernel"] == 6
        assert count["linear_cross_entropy_fwd_kernel"] == 3
        assert count["linear_cross_entropy_bwd_kernel"] >= 3
    plain = tmp_path / "plain"
    plain.mkdir()
    assert train(plain, *TINY, "kernels=reference").returncode == 0
    ours, theirs = losses(last(tmp_path)), losses(last(plain))
    assert ours.keys() == theirs.keys()
    for step, values in theirs.items():
        assert ours[step] == pytest.approx(values, rel=2e-5), step


@pytest.mark.parametrize("backend", ["torch", "native", "inductor"])
def test_same_losses_as_the_reference(tmp_path: Path, backend: str) -> None:
    done = train(tmp_path, *TINY, f"kernels={backend}")
    assert done.returncode == 0, done.stderr
    assert f"Kernels: {backend}" in done.stdout
    plain = tmp_path / "plain"
    plain.mkdir()
    assert train(plain, *TINY, "kernels=reference").returncode == 0
    ours, theirs = losses(last(tmp_path)), losses(last(plain))
    for step, values in theirs.items():
        assert ours[step] == pytest.approx(values, rel=2e-5), step


def smoothed(run: Path) -> list[float]:
    """Exponential mean (0.9) of the loss of every step."""
    found = [loss for _, (loss, _) in sorted(losses(run).items())]
    mean = found[0]
    return [mean := 0.9 * mean + 0.1 * loss for loss in found]


def distance(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.soak
def test_backends_stay_within_the_spread_of_seeds(tmp_path: Path) -> None:
    """200 steps of the default experiment: backends differ no more than seeds of the reference.

    Not triton, whose interpreter is too slow: `test_triton_trains_with_no_fallback` holds it.
    """
    plain = [
        "tokens=409600",
        "evaluation=none",
        "logger=none",
        "callbacks.language_metrics.every_n_steps=1",
        "callbacks.checkpoint.every_tokens=null",
    ]

    def run(name: str, *overrides: str) -> list[float]:
        folder = tmp_path / name
        folder.mkdir()
        done = train(folder, *plain, *overrides)
        assert done.returncode == 0, done.stderr
        return smoothed(last(folder))

    seeds = [run(f"seed{seed}", "kernels=reference", f"seed={seed}") for seed in range(1, 6)]
    assert len(seeds[0]) == 200
    spread = max(distance(a, b) for a in seeds for b in seeds)
    for backend in ("torch", "native", "inductor"):
        assert distance(run(backend, f"kernels={backend}"), seeds[0]) <= spread, backend
