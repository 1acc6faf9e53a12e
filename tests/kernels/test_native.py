"""The C++ passes: found or made once, and done without where they cannot be."""

from __future__ import annotations

import os
import re
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The library as it is made, for all tests that need no compiler of their own."""
    path = tmp_path_factory.mktemp("whole") / f"native-{native._key()}.so"
    native._compile(path)
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "another library", "one byte"])
def test_a_damaged_library_is_made_again(
    damage: str, whole: bytes, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded as it is, the first would end the process with a bus error."""
    path = fresh / f"native-{native._key()}.so"
    contents = {
        "cut": whole[:4096],
        "empty": b"",
        "text": b"no library",
        "another library": Path(torch._C.__file__).read_bytes(),
        "one byte": whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
    }
    path.write_bytes(contents[damage])
    monkeypatch.setattr(native, "_compile", lambda path: path.write_bytes(whole))
    assert native.why_not() is None
    assert list(fresh.iterdir()) == [path]
    assert path.read_bytes() == whole
    x = torch.randn(3, 8)
    torch.testing.assert_close(
        native.on(rms_norm)(x, torch.ones(8), 1e-6), rms_norm(x, torch.ones(8), 1e-6)
    )


def test_a_library_under_another_name_is_not_taken(whole: bytes, fresh: Path) -> None:
    for name, taken in ((native._key(), True), ("0123456789abcdef", False)):
        path = fresh / f"native-{name}.so"
        path.write_bytes(whole)
        assert native._is_whole(path) is taken


def script(folder: Path, lines: str) -> Path:
    """A g++ of our own."""
    folder.mkdir()
    path = folder / "g++"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return folder


FAILS = """[ "$1" = --version ] && exit
echo "In file included from native.cpp:6:" >&2
echo "native.cpp:9:10: fatal error: omp.h: No such file or directory" >&2
exit 1"""
MAKES_ANOTHER = """[ "$1" = --version ] && exit
while [ "$1" != -o ]; do shift; done
echo 'int other() { return 0; }' | PATH="$OLD_PATH" g++ -xc++ -shared -fPIC - -o "$2"
"""
MAKES_NONE = """[ "$1" = --version ] && exit
while [ "$1" != -o ]; do shift; done
echo text > "$2"
"""


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("not Linux", "for Linux; this is Darwin"),
        ("no compiler", r"There is no g\+\+"),
        (FAILS, r"g\+\+ failed: native.cpp:9:10: fatal error: omp.h: No such file"),
        ("exit 3", r"g\+\+ failed: .*exit status 3"),
        (MAKES_NONE, "cannot be loaded: .*native"),
        (MAKES_ANOTHER, "lacks attention, cross_entropy, norm"),
        ("no folder", r"It is kept in .*file/cache \(.*MARCO_CACHE.* failed: .*Not a directory"),
    ],
    ids=["not Linux", "no compiler", "fails", "fails early", "no library", "another", "no folder"],
)
def test_without(trouble: str, words: str, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """auto is torch then; asked for by name, or by a run that began with it, it is refused."""
    if trouble == "not Linux":
        monkeypatch.setattr(native.platform, "system", lambda: "Darwin")
    elif trouble == "no compiler":
        monkeypatch.setattr(native, "which", lambda name: None)
    elif trouble == "no folder":
        (fresh / "file").touch()
        monkeypatch.setenv("MARCO_CACHE", str(fresh / "file" / "cache"))
    else:
        monkeypatch.setenv("OLD_PATH", os.environ["PATH"])
        monkeypatch.setenv("PATH", str(script(fresh / "bin", trouble)), prepend=os.pathsep)
    assert re.search(words, native.why_not() or "")
    assert Kernels().chosen("cpu") == "torch"
    for refused in (lambda: Kernels("native").check("cpu"), lambda: install(None, "native")):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="kernels=native"):
            refused()
    x = torch.randn(3, 8)
    made = native.on(rms_norm)(x, torch.ones(8), 1e-6)
    assert torch.equal(made, rms_norm(x, torch.ones(8), 1e-6))


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
