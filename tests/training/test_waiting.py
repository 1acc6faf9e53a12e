"""Waiting threads give their core away, unless the user said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from marco.training.waiting import SPIN_COUNT, wait_briefly


@pytest.mark.parametrize(
    ("given", "spins"),
    [
        ({}, str(SPIN_COUNT)),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_what_the_user_said_counts(
    given: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    wait_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_train_says_it_before_torch_reads_it() -> None:
    """libgomp reads its environment when torch loads it."""
    code = "import sys, train; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
