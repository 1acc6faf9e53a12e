"""The guardrail in real runs: English is forgotten without it, and not, or less, with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from support import FAST, command, environment, last, metrics, train

TEXT = [o for o in FAST if not o.startswith(("model.", "tokenizer.", "debug"))]
SIZE = [o for o in FAST if o.startswith(("model.", "tokenizer."))]
RUN = [
    *TEXT,
    "batch.sequence_length=128",
    "batch.sequences=4",
    "optimizer.lr=1e-2",
    "schedule=constant",
    "evaluation=likelihood",
    "mix=weights",
    "~mix.table",
]
GUARD = [
    "tokens=20480",  # 40 steps
    "+mix.table={swh: 0.9, tha: 0.1, eng: 0.0}",
    "evaluation.every_tokens=5120",
    "callbacks=retention",
    "callbacks.retention.anchors=[eng]",
    "callbacks.retention.replay_share=0.3",
    "model=pretrained",
    "tokenizer=pretrained",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    english = ["tokens=40960", "+mix.table={eng: 1.0, swh: 0.0, tha: 0.0}"]
    done = train(folder, *RUN, *SIZE, *english, "evaluation.every_tokens=null")
    assert done.returncode == 0, done.stderr
    return last(folder)


def english(run: Path) -> float:
    entry = json.loads((run / "summary.json").read_text())["languages"]["eng"]["bits_per_byte"]
    return entry["after"] / entry["before"] - 1


def state(run: Path) -> dict[str, bytes]:
    (path,) = (max((run / "checkpoints").glob("step-*")) / "state").glob("*.safetensors")
    return {name: value.tobytes() for name, value in load_file(path).items()}


def test_replay_keeps_english_and_goes_on_exactly(base: Path, tmp_path: Path) -> None:
    guarded = [*RUN, *GUARD, f"model.path={base}", "callbacks.retention.action=replay"]
    alone = train(tmp_path, *RUN, *GUARD, f"model.path={base}")
    assert alone.returncode == 0, alone.stderr
    forgotten = english(last(tmp_path))
    assert forgotten > 0.01
    assert (
        "Retention: After 5,120 tokens bits_per_byte is worse than at step 0: English"
        in alone.stdout
    )
    assert any("retention/eng" in line for line in metrics(last(tmp_path)))

    done = train(tmp_path, *guarded)
    assert done.returncode == 0, done.stderr
    whole = last(tmp_path)
    assert english(whole) < forgotten
    ledger = json.loads((whole / "summary.json").read_text())["ledger"]["languages"]
    assert ledger["eng"]["tokens"] > 2048

    process = subprocess.Popen(
        command(*guarded), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "from here on" in line:  # in the middle of the change
            process.kill()
            break
    process.wait()
    assert last(tmp_path) != whole
    resumed = train(tmp_path, "resume=last")
    assert resumed.returncode == 0, resumed.stderr + resumed.stdout
    assert state(last(tmp_path)) == state(whole)
