"""Where kernels are launched, and what their files leave out: waits, and sums in any order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import marco.kernels
from bench import kernel_launches
from bench.kernel_launches import our_ops
from marco.kernels import (
    _linear_cross_entropy_launches_triton,
    _rms_norm_kernels,
    linear_distillation_triton,
    rope,
    swiglu,
)
from marco.kernels.chips import CHIPS
from marco.kernels.launches import LAUNCHES, launch

FOLDER = Path(marco.kernels.__file__).parent
#: They hold the torch path too, which may wait (`test_no_op_asks_for_a_number` runs their Triton
#: paths), or measure.
HOST = {"linear_cross_entropy.py", "linear_distillation.py", "tuning.py"}
MODULES = (
    _linear_cross_entropy_launches_triton,
    _rms_norm_kernels,
    linear_distillation_triton,
    rope,
    swiglu,
)
TRITON = sorted(path for path in FOLDER.glob("*.py") if path.name not in HOST)


@pytest.mark.parametrize("path", TRITON, ids=lambda path: path.name)
def test_no_waits_and_no_atomics(path: Path) -> None:
    """CUDA graphs can be captured, and two runs give the same bits."""
    code = path.read_text()
    waits = r"\.item\(|\.tolist\(|\.cpu\(|\.numpy\(|nonzero|synchronize|torch\.equal|masked_select"
    assert re.findall(waits, code) == []
    assert "atomic" not in code.replace("no atomics", "")


def test_all_files_with_kernels_are_looked_at() -> None:
    assert all(
        path.name not in HOST for path in FOLDER.glob("*.py") if "triton.jit" in path.read_text()
    )
    assert {"_counted.py", "swiglu.py", "linear_cross_entropy_triton.py"} <= {
        p.name for p in TRITON
    }


class Card:
    """Which device is the current one."""

    current = 0


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        before, card.current = card.current, device.index
        yield
        card.current = before

    monkeypatch.setattr(torch.cuda, "current_device", lambda: card.current)
    monkeypatch.setattr(torch.cuda, "device", on)
    return card


@pytest.mark.parametrize("index", [0, 1])
def test_a_kernel_runs_where_its_tensors_are(two_cards: Card, index: int) -> None:
    x: Any = SimpleNamespace(is_cuda=True, device=torch.device("cuda", index))
    seen = []
    before = LAUNCHES["somewhere"]
    launch(
        "somewhere",
        lambda *args, **options: seen.append((two_cards.current, args, options)),
        x,
        5,
        block=2,
    )
    assert seen == [(index, (x, 5), {"block": 2})]
    assert two_cards.current == 0
    assert LAUNCHES["somewhere"] == before + 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("op", list(our_ops("0.5b", torch.bfloat16, 64)))
def test_no_op_asks_for_a_number(
    op: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors without data have none to give: whatever waits for one raises."""
    for module in MODULES:
        monkeypatch.setattr(module, "launch", lambda *args, **options: None)
    monkeypatch.setattr(kernel_launches, "_ANSWERS", {})
    run, inputs = our_ops("0.5b", dtype, 64)[op]
    kernel_launches.record(run, inputs, CHIPS["h100"])
