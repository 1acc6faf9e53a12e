"""Running train.py as a user starts it, and reading what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).parents[1] / "train.py"
FAST = (
    "debug=fast",
    "data.languages=[eng,swh,tha]",
    "logger=none",
    "callbacks.samples=null",
    "tokenizer.vocab_size=512",
    "model.hidden_size=32",
    "model.intermediate_size=64",
    "model.num_hidden_layers=2",
    "model.num_attention_heads=2",
)


def command(*overrides: str) -> list[str]:
    return [sys.executable, str(TRAIN), *overrides]


def environment(**more: str) -> dict[str, str]:
    """Offline, one thread, and no W&B settings of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    return {**kept, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "100", **more}


def train(
    folder: Path, *overrides: str, timeout: float = 280, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run train.py in `folder`; its exit code is the caller's to judge."""
    return subprocess.run(
        command(*overrides),
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def last(folder: Path) -> Path:
    return (folder / "runs" / "last").resolve()


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run: Path) -> dict[int, tuple[float, float]]:
    """Loss and gradient norm of every logged step, exactly as computed."""
    return {
        line["step"]: (line["train/loss"], line["train/gradient_norm"])
        for line in metrics(run)
        if "train/loss" in line
    }
