"""The gradient does not depend on how the global batch is cut, over time or over processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from marco.training.trainer import TrainerSettings

SCRIPT = Path(__file__).parent / "one_step.py"


@pytest.fixture(scope="module")
def one_step() -> ModuleType:
    spec = importlib.util.spec_from_file_location("one_step", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def whole(
    one_step: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    """The gradient of all eight sequences in one forward."""
    settings = TrainerSettings("cpu", precision="fp32")
    gradients, module = one_step.gradient(settings, 8, tmp_path_factory.mktemp("whole"))
    gradients["norm"] = torch.tensor(module.last_metrics["train/gradient_norm"])
    gradients["loss"] = torch.tensor(module.last_metrics["train/loss"])
    return gradients


def assert_same(found: dict[str, torch.Tensor], whole: dict[str, torch.Tensor]) -> None:
    for name, expected in whole.items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6 * scale, msg=name)


@pytest.mark.parametrize("micro_sequences", [4, 2, 1])
def test_cut_into_micro_batches(
    one_step: ModuleType, whole: dict[str, torch.Tensor], tmp_path: Path, micro_sequences: int
) -> None:
    settings = TrainerSettings("cpu", precision="fp32")
    found, module = one_step.gradient(settings, micro_sequences, tmp_path)
    found["norm"] = torch.tensor(module.last_metrics["train/gradient_norm"])
    found["loss"] = torch.tensor(module.last_metrics["train/loss"])
    assert_same(found, whole)
    assert sum(draws for draws, *_ in module.positions.values()) == 8


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_over_two_processes(whole: dict[str, torch.Tensor], tmp_path: Path, strategy: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, SCRIPT, tmp_path, strategy, "2"],
        check=True,
        env=environment,
        timeout=240,
        capture_output=True,
    )
    assert_same(load_file(tmp_path / "gradient.safetensors"), whole)


def test_reported_norm_is_that_of_the_gradient(whole: dict[str, torch.Tensor]) -> None:
    parts = [value for name, value in whole.items() if name not in ("norm", "loss")]
    expected = torch.sqrt(sum(value.double().square().sum() for value in parts))
    assert whole["norm"].item() == pytest.approx(expected.item(), rel=1e-6)
