"""A recipe as a user runs it: stopped, gone on with, and equal to one that was not stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support import FAST, command, environment, train

SMALL = [option for option in FAST if not option.startswith(("model.", "tokenizer."))]
STEP = [*SMALL, "evaluation=likelihood", "callbacks.language_metrics.every_n_steps=1"]
RECIPE = """
# A recipe of the tests'.
_target_: marco.training.recipe.Recipe
steps:
  broad:
    overrides: [{first}, tokens=20480]
  decay:
    overrides: [{step}, tokens=10240, schedule=warmup_linear, schedule.warmup=0.0]
  measured:
    do: evaluate
    overrides: [evaluation=likelihood]
"""


def flags(folder: Path) -> list[str]:
    (folder / "mine" / "recipe").mkdir(parents=True, exist_ok=True)
    written = RECIPE.format(
        first=", ".join(f'"{text}"' for text in (*FAST, *STEP)),
        step=", ".join(f'"{text}"' for text in STEP),
    )
    (folder / "mine" / "recipe" / "own.yaml").write_text(written)
    return ["--config-dir", "mine"]


def only(folder: Path) -> Path:
    """The folder of the one recipe that was begun."""
    (found,) = (folder / "runs" / "own").iterdir()
    return found


def weights(run: Path) -> dict[str, bytes]:
    """Every tensor of the last checkpoint, the optimizer's too; their order in the file is free."""
    last = max((run / "checkpoints").glob("step-*"))
    tensors: dict[str, bytes] = {}
    for path in (last / "state").glob("*.safetensors"):
        tensors |= {name: value.tobytes() for name, value in load_file(path).items()}
    assert len(tensors) > 50
    return tensors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    done = train(folder, *flags(folder), "recipe=own")
    assert done.returncode == 0, done.stderr
    assert "3 of 3: measured" in done.stdout
    return only(folder)


def test_every_step_starts_with_the_model_of_the_one_before(whole: Path) -> None:
    first, second = (
        json.loads((whole / step / "summary.json").read_text()) for step in ("broad", "decay")
    )
    after, before = (
        np.array([entry["bits_per_byte"][when] for entry in summary["languages"].values()])
        for summary, when in ((first, "after"), (second, "before"))
    )
    np.testing.assert_array_equal(after, before)
    (results,) = (whole / "measured").rglob("aggregates.json")
    assert results.is_file()
    recipe = json.loads((whole / "summary.json").read_text())
    assert sum(recipe["ledger"]["tokens"].values()) == 30720


def test_a_finished_recipe_does_nothing_again(whole: Path) -> None:
    before = weights(whole / "decay")
    done = train(whole.parents[2], f"resume={whole}")
    assert done.returncode == 0, done.stderr
    assert "1 of 3: broad is done" in done.stdout
    assert weights(whole / "decay") == before
    refused = train(whole.parents[2], f"resume={whole}", "tokens=5")
    assert refused.returncode == 2
    assert "its steps go on as they were begun" in refused.stderr


def stop(folder: Path, number: int, delay: float, *arguments: str) -> int:
    """Start a recipe, or go on with one, and signal it after a while; returns its exit code."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        return process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        return process.wait(timeout=200)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_it_ends_with_the_same_weights(
    whole: Path, tmp_path: Path, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    arguments = [*flags(tmp_path), "recipe=own"]
    for _ in range(10):
        number = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
        stop(tmp_path, int(number), float(draw.uniform(3, 10)), *arguments)
        if (tmp_path / "runs" / "own").is_dir():
            arguments = [f"resume={only(tmp_path)}"]
    deadline = time.monotonic() + 400
    while stop(tmp_path, signal.SIGINT, 300, *arguments) and time.monotonic() < deadline:
        pass
    for step in ("broad", "decay"):
        assert weights(only(tmp_path) / step) == weights(whole / step)
    assert (only(tmp_path) / "summary.json").is_file()
