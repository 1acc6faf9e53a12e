"""The traffic bench: what it counts, its model by hand, its bars, and a run as a user starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from bench.element_traffic import shrunk
from bench.interpreted import counting, processors
from bench.kernel_traffic import FLOOR_BAR, main, missed
from bench.product_model import Product, launch_of
from bench.product_traffic import ProductTraffic
from bench.torch_traffic import Launch, Live, TorchTraffic
from marco.kernels import spaces
from marco.kernels.chips import CHIPS
from marco.kernels.rms_norm import rms_norm

H100 = CHIPS["h100"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.kernel_traffic", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@triton.jit
def _twice_read(x_ptr, y_ptr, total_ptr, columns, block: tl.constexpr):
    at = tl.program_id(0) * columns + tl.arange(0, block)
    mask = tl.arange(0, block) < columns
    x = tl.load(x_ptr + at, mask=mask, other=0.0) + tl.load(x_ptr + at, mask=mask, other=0.0)
    tl.store(y_ptr + at, x, mask=mask)
    tl.atomic_add(total_ptr, tl.sum(x, axis=0))


def test_lanes_that_the_mask_lets_through_are_counted() -> None:
    x = torch.ones(3, 10, dtype=torch.float16)
    y, total = torch.empty(3, 10), torch.zeros(1)
    found: list[Launch] = []
    with counting(found):
        _twice_read[(3,)](x, y, total, 10, block=16)
        y.t().contiguous()
    assert float(total) == 60
    kernel, copy = found
    assert {access.name: access.moved for access in kernel.reads} == {
        "x_ptr": 2 * 60,
        "total_ptr": 3 * 4,
    }
    assert {access.name: access.moved for access in kernel.writes} == {
        "y_ptr": 120,
        "total_ptr": 3 * 4,
    }
    assert (copy.name, copy.moved) == ("clone", 2 * 120)


def test_a_norm_launches_as_on_a_gpu_of_so_many_processors() -> None:
    x, weight = torch.randn(80, 4096, requires_grad=True), torch.randn(4096, requires_grad=True)
    y = rms_norm(x, weight, 1e-6)
    found: list[Launch] = []
    with processors(5), counting(found):
        torch.autograd.grad(y, (x, weight), torch.ones_like(y))
    kernel = next(launch for launch in found if launch.name == "rms_norm_bwd_kernel")
    partial = next(access for access in kernel.writes if access.name == "partial_ptr")
    assert partial.moved == spaces.norm_backward(x, x, None)[0]["programs"] * 5 * 4096 * 4
    read = next(launch for launch in found if launch.name == "sum").reads
    assert [access.moved for access in read] == [partial.moved]


def test_torch_ops() -> None:
    x, y = torch.ones(8, 4), torch.ones(4)
    found: list[Launch] = []
    with TorchTraffic(found):
        x.add_(y.expand(8, 4))
        x.to(torch.float32)
        x[2:4].copy_(y)
        torch.zeros_like(x, dtype=torch.float16)
        x.new_empty(100)
        torch.mm(x, x.t(), out=torch.empty(8, 8))
    moved = [(launch.name, launch.moved) for launch in found]
    assert moved == [
        ("add_", 2 * 128 + 16),
        ("copy_", 16 + 32),
        ("zeros_like", 64),
        ("mm", 2 * 128 + 256),
    ]


def test_the_peak_of_what_is_alive() -> None:
    known = torch.ones(100)
    with Live([known]) as live:
        known.view(10, 10).t()
        first = torch.empty(50)
        del first
        kept = known[:10] + 1
        second = kept.double()
    assert second.nbytes == 80
    assert live.peak == 200
    assert live.now == 40 + 80


def product(**change: Any) -> Product:
    # A: 4,096 rows of 32 KiB, 128 MiB. B: 1,024 columns, 32 MiB. Neither fits half of the L2.
    given = {
        "operands": ("a", "b"),
        "sides": (4096, 1024),
        "tiles": (128, 128),
        "depth": 16_384,
        "group": 1,
    }
    return Product(**given | change)


def test_waves_fetch_each_tile_once() -> None:
    assert H100.processors == 132
    mib = 2**20
    # 256 programs are waves of 132 and 124, eight column tiles a row tile: tile 16 is in both.
    assert product().fetched(2, H100) == ((32 + 1) * 4 * mib, 2 * 32 * mib)
    # Rows fastest: both waves hold all 32 row tiles; column tile 4 is in both.
    assert product(group=32).fetched(2, H100) == (2 * 128 * mib, (8 + 1) * 4 * mib)
    assert product(group=32, walk=3).fetched(2, H100) == (3 * 2 * 128 * mib, (8 + 1) * 4 * mib)
    # Four groups of eight: a wave holds two of them and the first four tiles of a third.
    assert product(group=8).fetched(2, H100) == ((20 + 16) * 4 * mib, 2 * 32 * mib)
    # At half the depth B fits half of the L2: it comes once.
    assert product(depth=8192).fetched(2, H100) == ((32 + 1) * 2 * mib, 16 * mib)
    # But not beside another operand as large.
    assert product(depth=8192, beside=8192).fetched(2, H100) == ((32 + 1) * 2 * mib, 2 * 16 * mib)
    assert product(sides=(4000, 1024), depth=8192).fetched(2, H100)[0] == (4000 + 128) * 8192 * 2
    assert product().flops == 2 * 4096 * 1024 * 16_384


@pytest.mark.parametrize("in_place", [False, True])
def test_a_product_that_is_added(in_place: bool) -> None:
    total, a, b = torch.zeros(6, 4), torch.ones(6, 5), torch.ones(5, 4)
    found: list[Launch] = []
    with ProductTraffic(found, H100):
        total.addmm_(a, b) if in_place else torch.addmm(total, a, b, out=total)
    (launch,) = found
    assert launch.flops == 2 * 6 * 5 * 4
    assert launch.moved == 4 * (2 * 24 + 30 + 20)


def test_a_kernel_without_a_model() -> None:
    with pytest.raises(KeyError, match="twice_read: PASSES and PRODUCTS must say"):
        launch_of(_twice_read, (), {}, H100)


@pytest.mark.parametrize(
    ("op", "change", "message"),
    [
        ("rope", {}, None),
        ("rms_norm", {}, None),
        (
            "rope",
            {"floor_ratio": 1.03, "liger_floor_ratio": 1.1},
            "rope: moves 1.0300 of its floor, the bar is 1.02",
        ),
        ("rope", {"liger_floor_ratio": 1.0}, "rope: moves 1.0100 of its floor, Liger 1.0000"),
        ("rope", {"liger_floor_ratio": None}, None),
        ("add_rms_norm", {"forward_launches": 2}, "2 launches in the forward"),
        ("rms_norm", {"reads_of_source_in_backward": 2.0}, "reads what was normed 2.00 times"),
        ("linear_cross_entropy", {}, None),
        ("linear_cross_entropy", {"moved": 701}, "moves 701 bytes, Liger 700"),
        ("linear_cross_entropy", {"moved": 701, "liger_moved": None}, None),
        ("linear_distillation, js", {}, None),
        (
            "linear_distillation, js",
            {"moved": 7000},
            "linear_distillation, js: moves 7,000 bytes, Liger 700",
        ),
        ("rope", {"moved": 701}, None),
        ("linear_cross_entropy", {"logits_bytes": 2000}, "100 bytes beside its outputs, the bar"),
        ("linear_cross_entropy", {"bytes_beside_outputs_of_half": 40}, "of half the tokens 40"),
    ],
)
def test_bars(op: str, change: dict[str, Any], message: str | None) -> None:
    access = {"kernel": "k", "does": "reads", "argument": "w", "between": False}
    row = {
        "floor_ratio": 1.01,
        "liger_floor_ratio": 1.02,
        "interpreted_floor": 1000,
        "forward_accesses": [access | {"moved": 50, "times": 5.0}],
        "backward_accesses": [access | {"moved": 500, "times": 1.0}],
        "forward_launches": 1,
        "reads_of_source_in_backward": 1.0,
        "moved": 700,
        "liger_moved": 700,
        "bytes_beside_outputs": 100,
        "bytes_beside_outputs_of_half": 50,
        "logits_bytes": 2001,
        "tokens": 8192,
        "tokens_of_half": 4096,
    }
    found = missed(op, row | change, "7b", 62.1)
    assert len(found) == (message is not None)
    if message is not None:
        assert message in found[0]
        # Of the accesses only the one that repeats itself costs anything beyond the floor.
        assert ("k reads w 5 times, 50 bytes" in found[0]) == ("floor_ratio" in change)
        assert "500 bytes" not in found[0]


def test_a_reduced_set() -> None:
    done = run("--ops", "swiglu;linear_cross_entropy", "--no-liger", "--model", "0.5b")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"swiglu", "linear_cross_entropy"}
    assert found["swiglu"]["floor_ratio"] == 1
    assert found["swiglu"]["launches"] == 2
    assert found["swiglu"]["liger_floor_ratio"] is None
    # Three tensors forward and five backward; unfused silu, times up, and the backward of both.
    assert found["swiglu"]["moved"] == 8 * 2 * 8192 * 4864
    assert found["swiglu"]["unfused_moved"] == 14 * 2 * 8192 * 4864
    loss = found["linear_cross_entropy"]
    # The logits forward, again in the backward, and two gradients.
    assert loss["flops"] == 4 * 2 * 8192 * 896 * 151_936
    assert loss["launches"] > 1
    assert loss["floor_ratio"] > 1
    assert loss["bytes_beside_outputs"] < loss["logits_bytes"] / 20
    assert loss["liger_launches"] is None
    assert loss["unfused_flops"] == 3 * 2 * 8192 * 896 * 151_936
    # To fp32, log-softmax, the target's; backward the target's, softmax's, to bf16: and three
    # products, which write the logits, and read their gradient twice.
    passes = (2 + 4) + (4 + 4) + 4 + (4 + 4) + (3 * 4) + (4 + 2) + (2 + 2 + 2)
    logits = 8192 * 151_936
    assert passes * logits < loss["unfused_moved"] < 1.3 * passes * logits
    assert loss["unfused_bytes_beside_outputs"] > 4 * loss["logits_bytes"]


def test_another_chip_and_few_tokens() -> None:
    chosen = ("--chip", "mi300x", "--tokens", "4000", "--model", "0.5b")
    done = run("--ops", "rms_norm;linear_cross_entropy", "--no-liger", *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    *above, last = done.stdout.splitlines()
    assert "Assumed: Qwen2 0.5b, 4,000 tokens, bf16" in above[0]
    assert any("No miss: the bar of 1.02 is for 62.1 tokens a processor" in x for x in above)
    norm, loss = (json.loads(last)[op] for op in ("rms_norm", "linear_cross_entropy"))
    assert norm["processors"] == 76  # 1,000 tokens where all 304 have 4,000
    assert norm["inputs"] == [[1000, 896], [896]]
    assert norm["floor_ratio"] > FLOOR_BAR
    assert norm["floor"] == 2 * 896 * (5 * 4000 + 3)
    assert norm["moved"] == pytest.approx(norm["floor_ratio"] * norm["floor"])
    assert (loss["tokens"], loss["tokens_of_half"]) == (4000, 2000)


def test_what_is_interpreted() -> None:
    assert shrunk("rms_norm", "7b", 8192, H100) == (993, 16)
    assert shrunk("rms_norm", "7b", 100, H100) == (100, 132)
    assert shrunk("rms_norm", "7b", 10**6, H100) == (7576, 1)
    assert shrunk("swiglu", "7b", 3, H100) == (3, 1)
    tokens, _ = shrunk("rms_norm of heads", "7b", 8192, CHIPS["mi300x"])
    assert tokens * 28 >= 4096 * 8


def test_liger_that_does_not_import(tmp_path: Path) -> None:
    broken = tmp_path / "liger_kernel"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('no driver:\\nnone at all')")
    command = [sys.executable, "-m", "bench.kernel_traffic", "--ops", "swiglu", "--model", "0.5b"]
    found = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=found)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "Without Liger, which is installed but does not import: RuntimeError: no driver: none at "
        "all\n"
    )
    assert json.loads(done.stdout.splitlines()[-1])["swiglu"]["liger_launches"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ops", "swiglo"], "Did you mean 'swiglu'?"),
        (["--chip", "h10"], "--chip: 'h10' is not known. Did you mean 'h100'?"),
        (["--tokens", "0"], "--tokens must be at least 1, not 0."),
    ],
)
def test_what_is_not_known(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["kernel_traffic", *arguments])
    with pytest.raises(SystemExit, match=re.escape(message)):
        main()
