"""A run that branches off another: exact where nothing but the schedule changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from support import FAST, last, losses, train

FIXED = [option for option in FAST if option != "debug=fast"]
RUN = [
    *FIXED,
    "batch.sequence_length=128",
    "batch.sequences=4",
    "callbacks.language_metrics.every_n_steps=1",
    "evaluation=likelihood",
    "evaluation.every_tokens=null",
    "optimizer.lr=1e-2",
]
STEP = 512  # tokens


def test_a_decay_of_its_own_is_the_end_of_warmup_stable_decay(tmp_path: Path) -> None:
    """Stable for 24 steps and a linear decay over 8 that branch off, or both in one run."""
    decay = ["schedule=warmup_stable_decay", "schedule.decay=0.25", "schedule.warmup=0.125"]
    whole = train(tmp_path, *RUN, f"tokens={32 * STEP}", *decay)
    assert whole.returncode == 0, whole.stderr
    expected = losses(last(tmp_path))
    evaluated = json.loads((last(tmp_path) / "summary.json").read_text())["macro"]

    stable = ["schedule=constant", f"schedule.warmup={4 / 24}"]
    first = train(tmp_path, *RUN, f"tokens={24 * STEP}", *stable)
    assert first.returncode == 0, first.stderr
    parent = last(tmp_path)
    branch = ["branch=runs/last", f"tokens={8 * STEP}"]
    second = train(tmp_path, *branch, "schedule=warmup_linear", "schedule.warmup=0")
    assert second.returncode == 0, second.stderr
    assert f"Branching off {parent.name} at its step 24." in second.stdout

    found = losses(last(tmp_path))
    for step in range(8):
        np.testing.assert_allclose(found[step + 1], expected[step + 25], rtol=1e-5)
    after = json.loads((last(tmp_path) / "summary.json").read_text())["macro"]
    np.testing.assert_allclose(
        after["bits_per_byte"]["after"], evaluated["bits_per_byte"]["after"], rtol=1e-5
    )

    third = train(
        tmp_path,
        f"branch={parent}",
        f"tokens={4 * STEP}",
        "mix=natural",
        "seed=2",
        "evaluation=none",
        "callbacks.checkpoint.every_tokens=null",
    )
    assert third.returncode == 0, third.stderr
    assert "The data begins anew, since seed differs." in third.stdout
    ledger = json.loads((last(tmp_path) / "summary.json").read_text())["ledger"]["languages"]
    assert sum(entry["tokens"] for entry in ledger.values()) == 4 * STEP
    wrong = train(tmp_path, "branch=runs/none", "tokens=5000")
    assert wrong.returncode == 2
    assert "branch=runs/none is neither a run's folder with checkpoints" in wrong.stderr
