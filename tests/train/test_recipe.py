"""A recipe as a user runs it: every step after the other, and none of them twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from support import FAST, train

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


def weights(run: Path) -> str:
    """A hash of the last checkpoint's tensors."""
    last = max((run / "checkpoints").glob("step-*"))
    files = sorted((last / "state").glob("*.safetensors"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


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
