"""Runs that are cut off, by whatever, go on exactly."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import FAST, command, environment, last, losses, metrics, train

LONG = (
    *FAST,
    "tokens=20480",  # 40 steps
    "callbacks.language_metrics.every_n_steps=1",
    "callbacks.checkpoint.every_tokens=4096",  # 8 steps
    "evaluation.every_tokens=8192",
    "evaluation.lexicon=false",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    done = train(folder, *LONG)
    assert done.returncode == 0, done.stderr
    return last(folder)


def steps_of(folder: Path) -> int:
    """Steps that a run has logged so far."""
    try:
        return max((line["step"] for line in metrics(last(folder))), default=0)
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


def start_and_signal(
    folder: Path, number: int, ready: Callable[[Path], bool], *overrides: str
) -> subprocess.Popen[str]:
    """Start a run, wait until it is ready to be hit, and hit it."""
    process = subprocess.Popen(
        command(*overrides),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 200
    while not ready(folder):
        assert process.poll() is None, process.stdout.read()  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    return process


def same_measurements(run: Path, whole: Path) -> None:
    assert losses(run) == losses(whole)
    assert (run / "evaluations.jsonl").read_text() == (whole / "evaluations.jsonl").read_text()
    ours, theirs = (json.loads((r / "summary.json").read_text()) for r in (run, whole))
    assert ours["languages"] == theirs["languages"]


def test_killed_run_goes_on_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    process = start_and_signal(tmp_path, signal.SIGKILL, lambda f: steps_of(f) >= 13, *LONG)
    process.wait()
    assert not (last(tmp_path) / "summary.json").exists()
    done = train(tmp_path, "resume=last")
    assert done.returncode == 0, done.stderr
    assert "Resuming at step" in done.stdout
    same_measurements(last(tmp_path), whole)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_saves_and_says_how_to_go_on(
    whole: Path, tmp_path: Path, number: int, code: int
) -> None:
    process = start_and_signal(tmp_path, number, lambda f: steps_of(f) >= 5, *LONG)
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == code, shown
    run = last(tmp_path)
    assert f"resume={run.relative_to(tmp_path)}" in shown
    stopped = max(losses(run))
    assert (run / "checkpoints" / f"step-{stopped:08d}" / "manifest.json").exists()
    assert not (run / "summary.json").exists()
    done = train(tmp_path, f"resume={run.relative_to(tmp_path)}")
    assert done.returncode == 0, done.stderr
    assert f"Resuming at step {stopped} of 40" in done.stdout
    same_measurements(run, whole)


def test_damaged_checkpoint_is_passed_over(whole: Path, tmp_path: Path) -> None:
    process = start_and_signal(tmp_path, signal.SIGKILL, lambda f: steps_of(f) >= 21, *LONG)
    process.wait()
    run = last(tmp_path)
    newest = (run / "checkpoints" / "last").resolve()
    state = next((newest / "state").glob("*.safetensors"))
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)
    done = train(tmp_path, "resume=last")
    assert done.returncode == 0, done.stderr
    assert f"{newest.name} is damaged" in done.stdout
    same_measurements(run, whole)


def test_budget_can_grow(whole: Path, tmp_path: Path) -> None:
    short = [option for option in LONG if not option.startswith("tokens")]
    constant = "schedule=constant"
    assert train(tmp_path, *short, constant, "schedule.warmup=0", "tokens=6144").returncode == 0
    done = train(tmp_path, "resume=last", "tokens=8192")
    assert done.returncode == 0, done.stderr
    grown = losses(last(tmp_path))
    assert max(grown) == 16
    other = tmp_path / "other"
    other.mkdir()
    assert train(other, *short, constant, "schedule.warmup=0", "tokens=8192").returncode == 0
    assert grown == losses(last(other))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=2", "'seed' cannot change on resume"),
        ("optimizer.lr=1", "'optimizer.lr' cannot change on resume"),
        ("model=tiny", "'model' cannot change on resume"),
    ],
)
def test_nothing_else_may_change(whole: Path, tmp_path: Path, override: str, message: str) -> None:
    done = train(tmp_path, f"resume={whole}", override)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_smaller_budget_is_refused_and_changes_nothing(whole: Path, tmp_path: Path) -> None:
    before = [(whole / name).read_bytes() for name in ("config.yaml", "overrides.txt")]
    done = train(tmp_path, f"resume={whole}", "tokens=4096")
    assert done.returncode == 2
    assert "tokens=4096 is less than this run has already been trained on: 20480" in done.stderr
    assert before == [(whole / name).read_bytes() for name in ("config.yaml", "overrides.txt")]


def test_checkpoint_of_another_tokenizer_is_refused(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(whole), str(copy)], check=True)
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("vocab_size: 512", "vocab_size: 480"))
    done = train(tmp_path, f"resume={copy}")
    assert done.returncode == 1
    assert "was written with another tokenizer" in done.stderr
    assert "Traceback" not in done.stderr


def test_checkpoint_of_another_model_is_refused(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(whole), str(copy)], check=True)
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(
        config.replace("intermediate_size: 64", "intermediate_size: 96")
    )
    done = train(tmp_path, f"resume={copy}")
    assert done.returncode == 1
    assert "mlp" in done.stderr
    assert "96" in done.stderr
    assert "Traceback" not in done.stderr


def hit_after(seconds: float, before: int) -> Callable[[Path], bool]:
    """A moment some seconds after the start, and, in a new run, after its first step."""
    begin = time.monotonic()

    def ready(folder: Path) -> bool:
        moved = before > 0 or steps_of(folder) > 0
        return moved and time.monotonic() - begin > seconds + (5 if before else 0)

    return ready


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(12))
def test_killed_at_any_moment(whole: Path, tmp_path: Path, seed: int) -> None:
    """Three kills at random moments, start-up, evaluation and checkpoint writes included."""
    moments = random.Random(seed)
    started = False
    for _ in range(3):
        overrides = ["resume=last"] if started else list(LONG)
        ready = hit_after(moments.uniform(0, 4), steps_of(tmp_path) if started else 0)
        try:
            process = start_and_signal(tmp_path, signal.SIGKILL, ready, *overrides)
        except AssertionError:
            break  # it was done before the blow
        process.wait()
        saved = last(tmp_path) / "checkpoints"
        started = saved.is_dir() and any(saved.glob("step-*"))
    done = train(tmp_path, *(["resume=last"] if started else LONG))
    assert done.returncode == 0, done.stderr
    same_measurements(last(tmp_path), whole)
