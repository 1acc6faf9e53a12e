"""A W&B environment without this machine's keys, and a reader of W&B's files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_file import read_records

Read = Callable[[Path], dict[str, list[dict[str, Any]]]]


@pytest.fixture
def wandb_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """No ``WANDB_*`` variable, no netrc, no settings file; W&B's service is ended afterwards."""
    for variable in list(os.environ):
        if variable.startswith("WANDB_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no-settings"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    yield monkeypatch
    if module := sys.modules.get("wandb"):
        module.teardown()


@pytest.fixture
def read_run() -> Read:
    """Read the one W&B run in a run folder: its records by type."""
    return read_records
