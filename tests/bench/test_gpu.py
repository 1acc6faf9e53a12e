"""`bench.gpu` on a CPU: the interpreter and a plain clock stand in for a GPU and Triton's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kernels._rounding import bf16_rounds_to_nearest  # noqa: F401
from kernels.tolerances import FACTOR, TOLERANCES
from torch import Tensor
from torch.autograd import DeviceType
from transformers import Qwen2Config
from transformers.models.qwen2 import modeling_qwen2

from bench import gpu, gpu_check, gpu_ops, gpu_step, kernel_launches, roofline
from bench.gpu_machine import BUSY_CALLS, Machine, busy
from bench.gpu_tables import without_nan
from marco.kernels import swiglu as swiglu_module

CPU = torch.device("cpu")
#: hidden, intermediate, heads, kv heads, head width, vocabulary
TINY = (32, 48, 4, 2, 8, 131)


def clock(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def nothing() -> None:
    pass


MACHINE = Machine(CPU, "a CPU", clock, clock, nothing, nothing, lambda: 2**30, nothing)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Qwen2Config(
        vocab_size=TINY[-1],
        hidden_size=TINY[0],
        intermediate_size=TINY[1],
        num_hidden_layers=2,
        num_attention_heads=TINY[2],
        num_key_value_heads=TINY[3],
        tie_word_embeddings=True,
    )
    monkeypatch.setitem(kernel_launches.MODELS, "tiny", TINY)
    monkeypatch.setitem(roofline.MODELS, "tiny", "")
    monkeypatch.setattr(roofline, "config_of", lambda _: config)


def given(*words: str) -> Namespace:
    shape = ("--rows", "1", "--length", "16", "--steps", "1")
    return gpu.arguments(["--models", "tiny", "--step-models", "tiny", *shape, *words])


def measured(
    capsys: pytest.CaptureFixture[str], *words: str, machine: Machine = MACHINE
) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON, and what is printed above it."""
    code = gpu.run(given(*words), machine)
    *above, last = capsys.readouterr().out.splitlines()
    return code, json.loads(last), "\n".join(above)


@pytest.mark.parametrize("dtype", gpu.DTYPES)
def test_all_ops_hold(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, printed = measured(capsys, "--quick", "--dtype", dtype)
    for name in gpu_ops.OPS:
        for by, row in found["ops"][name]["tiny"].items():
            print(name, by, row)
    assert code == 0, printed
