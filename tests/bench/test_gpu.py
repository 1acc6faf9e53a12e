"""`bench.gpu` on a CPU: the interpreter and a plain clock stand in for a GPU and Triton's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import types
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, create_autospec

import pytest
import torch
import triton
from kernels._rounding import bf16_rounds_to_nearest  # noqa: F401
from kernels.tolerances import FACTOR, TOLERANCES
from torch import Tensor
from torch.autograd import DeviceType
from transformers import Qwen2Config
from transformers.models.qwen2 import modeling_qwen2

from bench import (
    gpu,
    gpu_attention,
    gpu_check,
    gpu_machine,
    gpu_ops,
    gpu_step,
    kernel_launches,
    roofline,
)
from bench.gpu_machine import BUSY_CALLS, Machine, busy
from bench.gpu_tables import without_nan
from bench.op_inputs import packed_positions, real
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
        num_hidden_layers=1,
        num_attention_heads=TINY[2],
        num_key_value_heads=TINY[3],
        tie_word_embeddings=True,
    )
    monkeypatch.setattr(gpu_step, "WARMUP", 1)
    monkeypatch.setitem(kernel_launches.MODELS, "tiny", TINY)
    monkeypatch.setattr(gpu_ops, "find_spec", lambda _: None)  # the same with Liger and without
    monkeypatch.setitem(roofline.MODELS, "tiny", "")
    monkeypatch.setattr(roofline, "config_of", lambda _: config)


def given(*words: str) -> Namespace:
    shape = ("--rows", "1", "--length", "16", "--steps", "1")
    options = ["--models", "tiny", "--step-models", "tiny", *shape, *words]
    return gpu.checked(gpu._parser().parse_args(options))


def measured(
    capsys: pytest.CaptureFixture[str], *words: str, machine: Machine = MACHINE
) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON, and what is printed above it."""
    code = gpu.run(given(*words), machine)
    *above, last = capsys.readouterr().out.splitlines()
    return code, json.loads(last), "\n".join(above)


def ours(found: dict[str, Any], name: str) -> dict[str, Any]:
    row: dict[str, Any] = found["ops"][name]["tiny"]["ours"]
    return row


def test_every_op_holds_and_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    code, found, printed = measured(capsys, "--quick")
    assert code == 0, printed
    assert set(found["ops"]) == set(gpu_ops.OPS)
    assert found["steps"] == {}
    assert found["failures"] == []
    for name, models in found["ops"].items():
        rows = models["tiny"]
        assert "compile" not in rows
        assert rows["ours"]["holds"], name
        assert {one["name"] for one in rows["ours"]["errors"]} >= {"output 0", "gradient 0"}, name
        for by in ("ours", "torch"):
            assert rows[by]["ms"] > 0
            assert rows[by]["forward_ms"] > 0
    weights = {one["name"] for one in ours(found, "linear_cross_entropy")["errors"]}
    assert weights == {"output 0", "gradient 0", "gradient 1"}
    # A contender that fails says why, and is nobody's failure but its own.
    reason = found["ops"]["attention"]["tiny"]["FlexAttention"]["error"]
    assert reason.startswith("NotImplementedError: FlexAttention does not support backward on CPU")
    assert found["chip"] == "a CPU"
    assert found["versions"]["torch"] == version("torch")


def with_wrong_gradient(gate: Tensor, up: Tensor) -> Tensor:
    return right(gate, up) + 0.05 * (gate - gate.detach())


def raising(gate: Tensor, up: Tensor) -> Tensor:
    raise RuntimeError("no kernel image\nand more")


right = swiglu_module.swiglu


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        (lambda gate, up: 1.02 * right(gate, up), "FAILS swiglu, tiny, output 0: error 0.0"),
        (with_wrong_gradient, "FAILS swiglu, tiny, gradient 0: error 0.0"),
        (lambda gate, up: right(gate, up) * torch.nan, "FAILS swiglu, tiny, output 0: error nan"),
        (lambda gate, up: right(gate, up)[:-1], "FAILS swiglu, tiny: ValueError: it gives {"),
        (raising, "FAILS swiglu, tiny: RuntimeError: no kernel image\n"),
    ],
)
def test_a_wrong_kernel_is_caught(
    planted: Callable[[Tensor, Tensor], Tensor],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(swiglu_module, "swiglu", planted)
    code, found, printed = measured(capsys, "--quick", "--ops", "swiglu;rms_norm")
    assert code == 1
    assert message in printed + "\n"
    assert all(line.startswith("swiglu") for line in found["failures"])
    assert ours(found, "rms_norm")["holds"]
    assert not ours(found, "swiglu").get("holds", False)
    assert found["ops"]["swiglu"]["tiny"]["torch"]["ms"] > 0


def test_what_could_not_be_checked_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def in_half_the_types(gate: Tensor, up: Tensor) -> Tensor:
        if gate.dtype == torch.float64:
            raise torch.OutOfMemoryError("out of memory")
        return torch.nn.functional.silu(gate) * up

    monkeypatch.setitem(gpu_ops.PLAIN, "swiglu", in_half_the_types)
    code, found, _ = measured(capsys, "--quick", "--ops", "swiglu")
    assert code == 1
    assert found["failures"] == ["swiglu, tiny: OutOfMemoryError: out of memory"]
    assert ours(found, "swiglu")["ms"] > 0


def test_inputs_that_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> list[Tensor]:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(gpu_ops, "real", full)
    code, found, _ = measured(capsys, "--quick", "--ops", "swiglu;attention")
    assert code == 1
    reason = {"error": "OutOfMemoryError: out of memory"}
    assert found["ops"]["swiglu"]["tiny"] == {"ours": reason}
    assert ours(found, "attention")["holds"]


def test_other_contenders(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch.compile, and a Liger that is right on one op and wrong on the other."""

    def liger(model: str, dtype: torch.dtype, tokens: int) -> dict[str, Any]:
        assert (model, dtype, tokens) == ("tiny", torch.bfloat16, 16)
        plain = gpu_ops.PLAIN
        return {
            "rope": (plain["rope"], []),
            "swiglu": (lambda gate, up: plain["swiglu"](up, gate), []),
        }

    compiled = []
    monkeypatch.setattr(torch, "compile", lambda run, dynamic: compiled.append(run) or run)
    monkeypatch.setattr(gpu_ops, "find_spec", lambda _: True)
    monkeypatch.setattr(kernel_launches, "liger_ops", liger)
    code, found, _ = measured(capsys, "--ops", "rope;swiglu", "--step-models", "")
    assert code == 0, "Liger's error is not ours"
    assert compiled == [gpu_ops.PLAIN["rope"], gpu_ops.PLAIN["swiglu"]]
    rope, swiglu = (found["ops"][name]["tiny"] for name in ("rope", "swiglu"))
    assert rope["compile"]["ms"] > 0
    assert "holds" not in rope["compile"]
    assert rope["liger"]["holds"]
    assert {one["ratio"] for one in rope["liger"]["errors"]} == {1.0}
    assert swiglu["liger"]["holds"] is False


def test_flash_attention_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flash(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        assert options["causal"]
        assert options["cu_seqlens_q"] is options["cu_seqlens_k"]
        made = []
        for start, end in pairwise(options["cu_seqlens_q"].tolist()):
            heads = [x[start:end].transpose(0, 1) for x in (q, k, v)]
            made.append(
                torch.nn.functional.scaled_dot_product_attention(
                    *heads, is_causal=True, scale=options["softmax_scale"], enable_gqa=True
                ).transpose(0, 1)
            )
        return torch.cat(made)

    monkeypatch.setattr(gpu_attention, "flash_varlen", lambda: flash)
    # Four rows.
    monkeypatch.setattr(gpu_attention, "LENGTH", 8)
    code, found, printed = measured(capsys, "--quick", "--ops", "attention", "--length", "32")
    assert code == 0, printed
    assert found["ops"]["attention"]["tiny"]["flash-attn"]["holds"], printed


def only(*names: str) -> Callable[[], dict[str, gpu_step.Contender]]:
    chosen = {name: one for name, one in gpu_step.contenders().items() if name in names}
    return lambda: chosen


@pytest.mark.parametrize("precision", gpu.PRECISIONS)
def test_training_steps(
    precision: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def broken(network: Any) -> Iterator[gpu_step.Loss]:
        yield lambda *_: network.no_such_layer

    chosen = {**only("triton", "reference")(), "broken": broken}
    monkeypatch.setattr(gpu_step, "contenders", lambda: chosen)
    chip = replace(MACHINE, name="NVIDIA H200")
    words = ("--ops", "rms_norm", "--precision", precision, "--rows", "2", "--length", "8")
    code, found, printed = measured(capsys, *words, machine=chip)
    assert code == 0, printed
    rows = found["steps"]["tiny"]
    assert rows["broken"] == {
        "error": "AttributeError: 'Qwen2ForCausalLM' object has no attribute 'no_such_layer'"
    }
    triton, reference = rows["triton"], rows["reference"]
    # The same weights, data and optimizer: the same loss, but for rounding.
    assert triton["loss"] == pytest.approx(reference["loss"], rel=1e-3)
    assert triton["tokens_per_second"] == pytest.approx(16 / triton["seconds"])
    assert triton["peak_bytes"] == 2**30
    assert 0 < triton["mfu"] < reference["mfu"]
    assert "No MFU" not in printed
    # The roofline model is of bf16 weights.
    assert ("model_ms" in triton) == ("model_ms" in reference) == (precision == "bf16-master")
    norm = found["ops"]["rms_norm"]["tiny"]
    assert 0 < norm["ours"]["model_ms"] < norm["torch"]["model_ms"]


def test_no_mfu_on_an_unknown_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_step, "contenders", only("reference"))
    code, found, printed = measured(capsys, "--ops", "rms_norm")
    assert code == 0
    assert found["steps"]["tiny"]["reference"]["mfu"] is None
    assert "No MFU: the peak of a CPU is not known to marco." in printed


def test_liger_leaves_transformers_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("liger_kernel.transformers")
    before = modeling_qwen2.Qwen2MLP, modeling_qwen2.apply_rotary_pos_emb
    patched = []

    def apply(model: Any) -> None:
        modeling_qwen2.Qwen2MLP = modeling_qwen2.apply_rotary_pos_emb = None
        patched.append(model)

    package.apply_liger_kernel_to_qwen2 = apply  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "liger_kernel", types.ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", package)
    network = SimpleNamespace()
    with gpu_step._liger(network):
        assert modeling_qwen2.Qwen2MLP is None
    assert patched == [network]
    assert (modeling_qwen2.Qwen2MLP, modeling_qwen2.apply_rotary_pos_emb) == before


def test_inputs_of_their_kinds() -> None:
    _, metas = kernel_launches.our_ops("tiny", torch.float32, 64)["rope"]
    q, _, cos, sin = real(metas, TINY[-1], CPU)
    torch.testing.assert_close(cos.square() + sin.square(), torch.ones_like(cos))
    assert q.requires_grad
    assert not cos.requires_grad
    assert torch.equal(q, real(metas, TINY[-1], CPU)[0])
    _, metas = kernel_launches.our_ops("tiny", torch.bfloat16, 64)["linear_cross_entropy"]
    hidden, head, targets = real(metas, TINY[-1], CPU)
    assert 0 <= targets.min() < targets.max() < TINY[-1]
    assert 0.5 < float((hidden @ head.T).detach().std()) < 2
    assert head.dtype == torch.bfloat16


def test_packed_positions() -> None:
    positions = packed_positions(3, 100, CPU)
    assert positions.shape == (3, 100)
    for row in positions.tolist():
        assert row[0] == 0
        assert all(b in (0, a + 1) for a, b in pairwise(row))
        assert 2 <= row.count(0) <= 9


def test_the_rule_is_the_tests_own() -> None:
    assert gpu_check.FACTOR == FACTOR
    assert gpu_check.TOLERANCES == TOLERANCES


def kernel(name: str, microseconds: float, **changes: Any) -> SimpleNamespace:
    """An event of torch's profiler."""
    lasting = SimpleNamespace(elapsed_us=lambda: microseconds)
    made = {"device_type": DeviceType.CUDA, "is_user_annotation": False}
    return SimpleNamespace(name=name, time_range=lasting, **made | changes)


def test_busy_time_is_that_of_kernels() -> None:
    events = [
        kernel("rms_norm_fwd_kernel", 30_000),
        kernel("Memcpy DtoD", 10_000),
        kernel("cudaLaunchKernel", 7, device_type=DeviceType.CPU),
        kernel("Torch-Compiled Region", 90_000, is_user_annotation=True),
        kernel("Context Sync", 5_000),
    ]
    assert busy(events, BUSY_CALLS) == pytest.approx(40 / BUSY_CALLS)
    assert busy(events[2:], BUSY_CALLS) is None


def test_the_clocks_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as they go without one: what Triton's and torch's are called with."""
    bench = create_autospec(triton.testing.do_bench, return_value=1.5)
    monkeypatch.setattr(triton.testing, "do_bench", bench)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "synchronize", nothing)
    machine = gpu_machine.gpu(quick=True)
    assert (machine.name, machine.device) == ("NVIDIA H200", torch.device("cuda", 1))
    assert machine.time_ms(nothing) == 1.5
    bench.assert_called_once_with(nothing, warmup=10, rep=40, return_mode="median")
    machine.free()
    profile = MagicMock()
    profile.return_value.__enter__.return_value.events.return_value = [kernel("a", 60_000)]
    profile.return_value.__exit__.return_value = False
    monkeypatch.setattr(torch.profiler, "profile", profile)
    calls: list[None] = []
    assert machine.busy_ms(lambda: calls.append(None)) == pytest.approx(60 / BUSY_CALLS)
    assert len(calls) == 1 + BUSY_CALLS
    profile.side_effect = RuntimeError("no CUPTI here")
    assert machine.busy_ms(nothing) is None


def test_json_has_no_nan() -> None:
    found = without_nan({"a": [1.0, float("nan")], "b": {"c": float("inf"), "d": "nan"}})
    assert found == {"a": [1.0, None], "b": {"c": None, "d": "nan"}}


def test_without_a_gpu() -> None:
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "bench.gpu", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, env=hidden)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == gpu.NO_GPU + "\n"
    done = subprocess.run([*command, "--steps", "0"], capture_output=True, text=True, env=hidden)
    assert done.returncode == 1
    assert done.stderr == "--steps must be at least 1.\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "7"], "Did you mean '7b'?"),
        (["--ops", "rms_norm;swiglo"], "Did you mean 'swiglu'?"),
        (["--step-models", "3b"], "--step-models: '3b' is not known."),
        (["--length", "0"], "--length must be at least 1."),
    ],
)
def test_what_is_not_known(words: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        gpu.checked(gpu._parser().parse_args(words))
