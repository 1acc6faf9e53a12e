"""What `make` says on a machine where no environment can be made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("asked", "message"),
    [("-c import venv", "venv module is missing"), ("-m venv", "could not be made")],
)
def test_why_there_is_no_environment(asked: str, message: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in "{asked}"*) echo no room >&2; exit 1;; esac\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", f"VENV={tmp_path / 'venv'}", f"PYTHON={python}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "no room" in done.stderr
    assert message in done.stdout
    assert done.stdout.count("venv module is missing") == (message == "venv module is missing")
