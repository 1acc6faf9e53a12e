"""The C++ passes: found or made once, and done without where they cannot be."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from marco.errors import ConfigError
from marco.kernels.torch_path import native
from marco.kernels.torch_path.norm import rms_norm
from marco.models.kernels import Kernels, install


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache, and nothing loaded."""
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path
    native.library.cache_clear()


def test_compiled_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.available()
    (made,) = fresh.iterdir()
    native.library.cache_clear()
    monkeypatch.setattr(native, "_compile", lambda path: pytest.fail("compiled again"))
    assert native.available()
    assert list(fresh.iterdir()) == [made]


def test_another_source_is_another_library(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = native._key()
    changed = fresh / "native.cpp"
    changed.write_bytes(native.SOURCE.read_bytes() + b"\n")
    monkeypatch.setattr(native, "SOURCE", changed)
    assert native._key() != before


@pytest.mark.parametrize("trouble", ["no compiler", "it fails", "not Linux"])
def test_without(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """auto is torch then; asked for by name, or by a run that began with it, it is refused."""

    def fail(path: Path) -> None:
        raise subprocess.CalledProcessError(1, "g++")

    if trouble == "no compiler":
        monkeypatch.setattr(native, "which", lambda name: None)
    elif trouble == "it fails":
        monkeypatch.setattr(native, "_compile", fail)
    else:
        monkeypatch.setattr(native.platform, "system", lambda: "Darwin")
    assert Kernels().chosen("cpu") == "torch"
    for refused in (lambda: Kernels("native").check("cpu"), lambda: install(None, "native")):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"kernels=native needs Linux and g\+\+"):
            refused()


def test_auto_takes_it_on_a_cpu() -> None:
    Kernels("native").check("cpu")
    assert Kernels().chosen("cpu") == "native"
    assert Kernels().chosen("cuda") == "triton"


def test_the_backward_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs after the operation has returned."""
    called = []

    def watched(name: str, *args: Any) -> None:
        called.append(name)
        real(name, *args)

    real = native.call
    monkeypatch.setattr(native, "call", watched)
    x, weight = torch.randn(3, 8, requires_grad=True), torch.ones(8, requires_grad=True)
    rms_norm(x, weight, 1e-6).sum().backward()
    assert called == []
    native.on(rms_norm)(x, weight, 1e-6).sum().backward()
    assert called == ["norm", "norm_backward"]
    native.on(rms_norm)(x.double(), weight.double(), 1e-6).sum().backward()
    assert called == ["norm", "norm_backward"]


def test_repeats_bit_for_bit() -> None:
    x = torch.randn(500, 96)
    weight = torch.randn(96, requires_grad=True)
    found = []
    for _ in range(3):
        (gradient,) = torch.autograd.grad(native.on(rms_norm)(x, weight, 1e-6).sum(), weight)
        found.append(gradient)
    assert all(torch.equal(found[0], other) for other in found)
