"""Several processes: the same numbers as one, and a resume on another number of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import FAST, last, losses, train

STEPS = (
    *FAST,
    "trainer.precision=fp32",
    "callbacks.language_metrics.every_n_steps=1",
    "evaluation.lexicon=false",
    "schedule=constant",
    "schedule.warmup=0",
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    done = train(folder, *STEPS)
    assert done.returncode == 0, done.stderr
    return last(folder)


def same(run: Path, alone: Path) -> None:
    ours, theirs = losses(run), losses(alone)
    assert ours.keys() == theirs.keys()
    for step, values in theirs.items():
        assert ours[step] == pytest.approx(values, rel=2e-5), step
    bits = [
        {
            code: entry["bits_per_byte"]["after"]
            for code, entry in json.loads((r / "summary.json").read_text())["languages"].items()
        }
        for r in (run, alone)
    ]
    assert bits[0] == pytest.approx(bits[1], rel=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_then_one(alone: Path, tmp_path: Path, strategy: str) -> None:
    done = train(tmp_path, *STEPS, f"trainer={strategy}", "tokens=2048")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Held-out bits per byte") == 1
    done = train(tmp_path, "resume=last", "tokens=4096", "trainer.devices=1")
    assert done.returncode == 0, done.stderr
    same(last(tmp_path), alone)


def test_one_process_then_two(alone: Path, tmp_path: Path) -> None:
    done = train(tmp_path, *STEPS, "tokens=2048")
    assert done.returncode == 0, done.stderr
    two = ["trainer.devices=2", "trainer.strategy=fsdp2"]
    done = train(tmp_path, "resume=last", "tokens=4096", *two)
    assert done.returncode == 0, done.stderr
    same(last(tmp_path), alone)


def test_masters_in_two_processes(tmp_path: Path) -> None:
    done = train(tmp_path, *STEPS, "trainer=fsdp2", "trainer.precision=bf16-master")
    assert done.returncode == 0, done.stderr
    bits = json.loads((last(tmp_path) / "summary.json").read_text())["macro"]["bits_per_byte"]
    assert bits["after"] < bits["before"] - 0.05


def test_failure_in_one_ends_all(tmp_path: Path) -> None:
    done = train(tmp_path, *STEPS, "trainer=ddp", "optimizer.lr=1e30")
    assert done.returncode == 1
    assert "bad_batch.json" in done.stderr
    record = json.loads((last(tmp_path) / "bad_batch.json").read_text())
    assert len(record["sequences"]) == 4  # those of both processes
