"""A run that trains adapters and averages them: what is evaluated, and what is exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import FAST, last, train
from torch import Tensor

from marco.errors import ConfigError
from marco.models.kernels import Kernels
from marco.training.checkpoint import read_manifest
from marco.training.loading import ModelChoice, run_network
from marco.training.stored import find_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted")
    options = [
        *FAST,
        "evaluation=none",
        "callbacks.checkpoint.every_tokens=null",
        "adapter=dora",
        "adapter.r=2",
        "optimizer.lr=0.1",
        "optimizer.ema=0.5",
        "tokens=1536",
    ]
    done = train(folder, *options)
    assert done.returncode == 0, done.stderr
    assert "are trained (" in done.stdout + done.stderr
    return last(folder)


def exported(run: Path, average: bool) -> dict[str, Tensor]:
    weights = find_model(str(run), "run", None, average).weights
    return {name: torch.cat(list(weights.pieces(name))) for name in weights.tensors}


@pytest.mark.parametrize("average", [False, True])
def test_export_merges_what_evaluation_reads(run: Path, average: bool) -> None:
    place = ModelChoice(str(run)).place()
    assert place is not None
    evaluated = dict(run_network(*place, average).named_parameters())
    written = exported(run, average)
    assert written.keys() == evaluated.keys()
    for name, tensor in written.items():
        torch.testing.assert_close(tensor, evaluated[name].detach(), rtol=1e-5, atol=1e-6)
    weights = "ema" if average else "trained"
    loaded = ModelChoice(str(run), weights=weights).load(Kernels("torch"))  # type: ignore[arg-type]
    assert loaded.step == read_manifest(place[1]).step
    for name, parameter in loaded.root.network.named_parameters():
        assert torch.equal(parameter, evaluated[name]), name


def test_adapters_change_what_they_wrap_and_nothing_else(run: Path) -> None:
    trained, average = exported(run, False), exported(run, True)
    differing = {name for name in trained if not torch.equal(trained[name], average[name])}
    assert differing == {name for name in trained if "_proj.weight" in name}


def test_only_runs_have_averages(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"weights=ema: .* is no run"):
        ModelChoice(str(tmp_path), weights="ema").check()
    with pytest.raises(ConfigError, match="is no run"):
        find_model(str(tmp_path), "run", None, average=True)
