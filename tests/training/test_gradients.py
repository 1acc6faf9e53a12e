from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from marco.training.gradients import global_norm, scale_gradients


def test_plain_gradients() -> None:
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    norm = global_norm(gradients)
    assert norm.item() == pytest.approx(5.0)
    scale_gradients(gradients, norm, largest=10.0)
    assert gradients[1].item() == 4.0  # small ones stay as they are
    scale_gradients(gradients, norm, largest=1.0)
    assert gradients[0].tolist() == pytest.approx([0.6, 0.0])


def test_no_gradients_and_infinite_ones() -> None:
    assert global_norm([]).item() == 0
    assert global_norm([torch.tensor([float("inf")])]).isinf()
    assert global_norm([torch.tensor([float("nan")])]).isnan()


def test_mixed_meshes_on_two_processes(tmp_path: Path) -> None:
    script = Path(__file__).parent / "mesh_norm.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert float((tmp_path / "done").read_text()) > 0
