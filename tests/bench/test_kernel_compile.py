"""Kernels compiled for GPUs that are not here, by the bench and as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bench.kernel_compile import choices, fails
from marco.kernels.chips import CHIPS


def run(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.kernel_compile", *arguments]
    # Tests run under the interpreter: the bench must leave it by itself.
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_reduced_set_compiles_well() -> None:
    ops = "rms_norm;rope;swiglu;linear_cross_entropy"
    done = run("--models", "1.5b", "--chips", "h100,mi300x", "--ops", ops, "--no-liger")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["failures"] == 0
    kernels = {(row["chip"], row["kernel"]): row for row in found["kernels"]}
    for chip, product in (("h100", "HGMMA"), ("mi300x", "v_mfma")):
        norm = kernels[chip, "rms_norm_bwd_kernel"]
        # In its loop over rows: x and dy 16 bytes at a time, rstd at least 4.
        sizes = {int(size) for size in norm["loop_loads"]}
        assert max(sizes) == 16
        assert min(sizes) >= 4
        assert not norm["matrix"]
        assert 0 < norm["occupancy"] <= 1
        for name in ("fwd", "bwd", "product"):
            row = kernels[chip, f"linear_cross_entropy_{name}_kernel"]
            assert any(key.startswith(product) for key in row["matrix"]), row
            assert row["shared"] > 0
            assert 0 < row["registers"] <= 512
        assert kernels[chip, "swiglu_bwd_kernel"]["shared"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, ""),
        ({"spills": 8}, "8 bytes spilled"),
        ({"shared": 65_537}, "65537 bytes of shared memory, the chip has 65536"),
        ({"doubles": 3}, "3 fp64 instructions"),
        ({"loop_loads": {16: 1, 2: 4}}, "33% of a loop's loads come an element at a time"),
        ({"loop_loads": {16: 8, 4: 1, 1: 1}}, ""),
        ({"loads": {2: 99}}, ""),
        ({"loop_loads": {}, "loads": {4: 4, 2: 4}}, ""),
        ({"loop_loads": {}, "loads": {4: 1, 2: 6}}, "75% of its loads come an element at a time"),
        ({"loop_loads": {}, "loads": {}}, ""),
    ],
)
def test_what_fails(change: dict[str, object], message: str) -> None:
    good = {"spills": 0, "shared": 65_536, "doubles": 0, "loop_loads": {16: 4}, "loads": {}}
    found = fails(SimpleNamespace(**good | change), CHIPS["mi300x"], 2)
    assert found == ([message] if message else [])


def test_what_is_shown_of_a_launch() -> None:
    """Liger gives its cross-entropy's class weights by name, which JSON does not know."""
    options = {"BLOCK_SIZE": 64, "eps": 0.5, "CAST": True, "MODE": "none", "num_warps": 4}
    launch = SimpleNamespace(options={**options, "weight_ptr": torch.ones(2), "scale_ptr": None})
    assert json.loads(json.dumps(choices(launch))) == options


def test_liger_that_does_not_import(tmp_path: Path) -> None:
    (tmp_path / "liger_kernel").mkdir()
    (tmp_path / "liger_kernel" / "__init__.py").write_text("import torch\ntorch.no_such_name")
    chosen = ("--models", "0.5b", "--chips", "h100,h100", "--ops", "swiglu")
    done = run(*chosen, path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Without Liger, which is installed but does not import: AttributeError: " in done.stderr
    assert "Traceback" not in done.stderr
    # A chip that is given twice is compiled for once.
    assert done.stderr.count("h100 0.5b ours swiglu: swiglu_fwd_kernel") == 1
    found = json.loads(done.stdout.splitlines()[-1])["kernels"]
    assert [row["by"] for row in found] == ["ours", "ours"]


def test_an_unknown_chip() -> None:
    done = run("--chips", "h10")
    assert done.returncode == 1
    assert "Did you mean 'h100'?" in done.stderr


def test_an_unknown_op() -> None:
    done = run("--ops", "rms_nrom")
    assert done.returncode == 1
    assert "Did you mean 'rms_norm'?" in done.stderr
