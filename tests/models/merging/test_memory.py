"""What a merge needs of memory does not grow with the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from torch import bfloat16

from marco.models.tensors.weights import INDEX
from marco.models.tensors.writing import Layout, _header

ROOT = Path(__file__).parents[3]
#: A matrix of an MLP of Qwen2-72B, 0.48 GB, and one of its norms.
SHAPES = {"mlp.down_proj.weight": (8192, 29568), "norm.weight": (8192,)}


def sparse(folder: Path) -> Path:
    """A model in two shards that are holes: zeros, and nothing on the disk."""
    folder.mkdir()
    where = {}
    for number, (name, shape) in enumerate(SHAPES.items(), 1):
        layout = Layout(bfloat16, shape)
        where[name] = f"model-{number:05d}-of-00002.safetensors"
        header = _header({name: layout})
        with (folder / where[name]).open("wb") as stream:
            stream.write(header)
            stream.truncate(len(header) + layout.size)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


@pytest.mark.parametrize("method", ["task_arithmetic"])
def test_shards_of_a_72b_model_are_merged_in_pieces(method: str, tmp_path: Path) -> None:
    folders = [sparse(tmp_path / name) for name in ("base", "a", "b")]
    output = tmp_path / "merged"
    output.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.merging.measure_memory", method, str(output)]
        + [str(folder) for folder in folders],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # A tensor is 484 MB, and three of them in fp32 would be 2.9 GB.
    assert 0 < int(done.stdout) < 120e6
    with safe_open(output / "model.safetensors", "pt") as merged:
        for name, shape in SHAPES.items():
            assert merged.get_slice(name).get_shape() == list(shape)
