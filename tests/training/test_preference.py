"""Preference training does not depend on how the global batch is cut; the reference is kept."""

from __future__ import annotations

import importlib
import logging
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from marco.errors import CheckpointError
from marco.training.reference import FILE
from marco.training.trainer import TrainerSettings

HERE = Path(__file__).parent
SETTINGS = TrainerSettings("cpu", precision="fp32")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pair_step() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        return importlib.import_module("pair_step")


@pytest.fixture(scope="module")
def whole(
    pair_step: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    """Everything in one forward a step."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARCO_CACHE", str(folder / "cache"))
        found, _ = pair_step.steps(SETTINGS, 8, folder)
    return dict(found)


def assert_same(found: dict[str, torch.Tensor], whole: dict[str, torch.Tensor]) -> None:
    assert found.keys() == whole.keys()
    for name, expected in whole.items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-5 * scale, msg=name)


@pytest.mark.parametrize("micro_sequences", [2, 1])
def test_cut_into_micro_batches(
    pair_step: ModuleType, whole: dict[str, torch.Tensor], tmp_path: Path, micro_sequences: int
) -> None:
    found, _ = pair_step.steps(SETTINGS, micro_sequences, tmp_path)
    assert_same(found, whole)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_over_two_processes(whole: dict[str, torch.Tensor], tmp_path: Path, strategy: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, HERE / "pair_step.py", tmp_path, strategy, "2"],
        check=True,
        env=environment,
        timeout=240,
        capture_output=True,
    )
    assert_same(load_file(tmp_path / "found.safetensors"), whole)


def test_the_first_step_has_no_margins_and_counts_pairs(
    pair_step: ModuleType, tmp_path: Path
) -> None:
    _, module = pair_step.steps(SETTINGS, 4, tmp_path, count=1)
    assert module.last_metrics["train/loss"] == pytest.approx(math.log(2), rel=1e-5)
    margins = module.language_measures["reward_margin"]
    assert margins == pytest.approx(dict.fromkeys(pair_step.LANGUAGES, 0.0), abs=1e-5)
    assert module.language_losses.keys() == set(pair_step.LANGUAGES)
    for language, entry in module.ledger_entries.items():
        assert entry["documents"] > 0, language
        assert entry["documents"] % 2 == 0, language
        assert entry["truncated_tokens"] == 0, language


def test_a_second_run_reads_the_cache(
    pair_step: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "marco.training.reference")
    first, _ = pair_step.steps(SETTINGS, 8, tmp_path / "a")
    second, _ = pair_step.steps(SETTINGS, 8, tmp_path / "b")
    made, read = (record.message for record in caplog.records)
    assert made == "Reference: log-probabilities of 46 pairs computed now."
    assert "read from" in read
    for name, value in first.items():
        assert torch.equal(second[name], value), name
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()


def test_a_resumed_run_wants_its_own_numbers(pair_step: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"reference\.safetensors: gone, damaged"):
        pair_step.steps(SETTINGS, 8, tmp_path, resume=tmp_path / "checkpoints" / "step-1")
