"""Ctrl-C and SIGTERM, wherever they hit: a checkpoint, a way to go on, the shell's exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import FAST, command, environment, last, losses, metrics, train

LONG = (
    *FAST,
    "tokens=102400",  # 200 steps
    "callbacks.language_metrics.every_n_steps=1",
    "evaluation.at_start=false",
    "evaluation.every_tokens=null",
    "evaluation.lexicon=false",
    "callbacks.checkpoint.every_tokens=null",
)


def training(folder: Path) -> bool:
    try:
        return len(metrics(last(folder))) >= 3
    except (FileNotFoundError, ValueError):
        return False


def hit(
    folder: Path, number: int, whole_group: bool, *overrides: str, when: Callable[[Path], bool]
) -> tuple[int, str]:
    """Start a run in a process group of its own, signal it, return exit code and output."""
    process = subprocess.Popen(
        command(*overrides),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and so would whatever the tests start in it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 150
    while not when(folder) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    shown, _ = process.communicate(timeout=100)
    return process.returncode, shown


@pytest.mark.parametrize(
    ("number", "whole_group", "how"),
    [
        (signal.SIGINT, True, ["trainer=ddp"]),
        (signal.SIGTERM, False, ["trainer=fsdp2"]),
        (signal.SIGINT, True, ["trainer.num_workers=2"]),
    ],
    ids=["Ctrl-C on two processes", "SIGTERM to the parent", "Ctrl-C with loader workers"],
)
def test_checkpoint_and_exit_code(
    tmp_path: Path, number: int, whole_group: bool, how: list[str]
) -> None:
    began = time.monotonic()
    code, shown = hit(tmp_path, number, whole_group, *LONG, *how, when=training)
    assert code == 128 + number, shown
    assert time.monotonic() - began < 100
    assert "Traceback" not in shown
    assert "Go on with: python train.py resume=" in shown
    stopped = max(losses(last(tmp_path)))
    assert (last(tmp_path) / "checkpoints" / f"step-{stopped:08d}" / "manifest.json").exists()


def evaluating(folder: Path) -> bool:
    """The last line before the first evaluation was written."""
    log = folder / "runs" / "last" / "log.txt"
    return log.exists() and "no MFU" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_during_the_first_evaluation(tmp_path: Path, number: int) -> None:
    slow = [o for o in LONG if "at_start" not in o and "lexicon" not in o]
    slow += ["evaluation.items_per_language=200", "evaluation.max_tokens=128"]
    code, shown = hit(tmp_path, number, False, *slow, when=evaluating)
    assert code == 128 + number, shown
    assert "Go on with" in shown
    assert list((last(tmp_path) / "checkpoints").glob("step-*"))


def test_stopped_evaluation_is_made_after_the_resume(tmp_path: Path) -> None:
    overrides = [o for o in LONG if "every_tokens" not in o and "lexicon" not in o]
    overrides += ["tokens=2048", "evaluation.items_per_language=300", "evaluation.max_tokens=128"]
    code, shown = hit(tmp_path, signal.SIGINT, False, *overrides, when=training)
    assert code == 130, shown
    done = train(tmp_path, "resume=last", "logger=none")
    assert done.returncode == 0, done.stderr
    assert "Evaluation after 2,048 tokens" in done.stdout


@pytest.mark.parametrize(
    ("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)]
)
@pytest.mark.parametrize("seconds", [0.5, 3.0, 6.0])
def test_before_training_on_two_processes(
    tmp_path: Path, number: int, whole_group: bool, seconds: float
) -> None:
    """While Hydra, the parent's or the children's torch is imported."""
    began = time.monotonic()
    overrides = (*LONG, "trainer=ddp")
    code, shown = hit(
        tmp_path, number, whole_group, *overrides, when=lambda _: time.monotonic() > began + seconds
    )
    assert code in (128 + number, -number), shown
    assert "Traceback" not in shown
    assert time.monotonic() - began < 60


def test_one_failing_process_ends_the_others(tmp_path: Path) -> None:
    """A process that is killed from outside: the run ends, with an error, and at once."""
    process = subprocess.Popen(
        command(*LONG, "trainer=ddp"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 150
    while not training(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True
    ).stdout.split()
    assert len(children) == 2
    os.kill(int(children[1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: process 1 of the run was ended by SIGKILL" in errors
    deadline = time.monotonic() + 20
    while subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True).stdout:
        assert time.monotonic() < deadline, "processes were left behind"
        time.sleep(0.2)
