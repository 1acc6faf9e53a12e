"""A training step as the trainer takes it: forward, backward, fused AdamW, packed documents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.qwen2 import modeling_qwen2

from bench.gpu_machine import Machine
from bench.op_inputs import packed_positions
from marco.models.kernels import Backend, install
from marco.objectives.causal_lm import CausalLanguageModel
from marco.tracking.devices import find_device
from marco.training.assemble import flops_per_token
from marco.training.optimizers import AdamW

WARMUP = 3

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Contender = Callable[[PreTrainedModel], AbstractContextManager[Loss]]


def _marco(backend: Backend) -> Contender:
    """marco's root module with a kernel backend, called as the trainer calls it."""

    @contextmanager
    def contender(network: PreTrainedModel) -> Iterator[Loss]:
        install(network, backend)
        model = CausalLanguageModel(network, network.config.vocab_size, backend)

        def loss(ids: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
            scale = 1 / labels.numel()
            return model(ids, positions, labels, upstream=scale).sum() * scale

        yield loss

    return contender


@contextmanager
def _liger(network: PreTrainedModel) -> Iterator[Loss]:
    """transformers with Liger's kernels; what Liger puts into transformers' module is undone."""
    from liger_kernel.transformers import apply_liger_kernel_to_qwen2

    names = ("apply_rotary_pos_emb", "Qwen2RMSNorm", "Qwen2MLP")
    with patch.multiple(modeling_qwen2, **{x: getattr(modeling_qwen2, x) for x in names}):
        apply_liger_kernel_to_qwen2(model=network)

        def loss(ids: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
            made = network(
                input_ids=ids,
                position_ids=positions,
                labels=labels,
                shift_labels=labels,
                use_cache=False,
            )
            found: Tensor = made.loss
            return found

        yield loss


def contenders() -> dict[str, Contender]:
    """Those that are installed, by name: marco's kernel backends, and Liger."""
    found: dict[str, Contender] = {
        "triton": _marco("triton"),
        "reference": _marco("reference"),
        "inductor": _marco("inductor"),
    }
    if find_spec("liger_kernel") is not None:
        found["liger"] = _liger
    return found


def train(
    contender: Contender,
    config: PreTrainedConfig,
    machine: Machine,
    *,
    rows: int,
    length: int,
    steps: int,
    precision: str,
) -> dict[str, Any]:
    """Time `steps` steps after a few others; the model and its data are the same for all.

    `precision` is as in `conf/trainer`: `bf16-autocast`, the default there, has fp32 weights and
    bf16 products, so that norms and the residual stream are fp32; `bf16-master` has bf16 weights
    and fp32 masters in the optimizer. Gradients are not clipped.

    Returns `seconds` (median), `tokens_per_second`, `mfu` (PaLM's convention; None where the
    device's peak is not known), `peak_bytes` and the last `loss`.
    """
    torch.manual_seed(0)
    with machine.device:
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    network.train()
    if precision == "bf16-master":
        for parameter in network.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    optimizer = AdamW(lr=1e-4).build(network)
    words = torch.randint(config.vocab_size, (rows, length + 1), device=machine.device)
    ids, labels = words[:, :-1].contiguous(), words[:, 1:].contiguous()
    positions = packed_positions(rows, length, machine.device)
    times = []
    with contender(network) as loss_of:
        for step in range(WARMUP + steps):
            if step == WARMUP:
                machine.reset_peak()
            machine.synchronize()
            start = time.perf_counter()
            with _autocast(machine, precision):
                loss = loss_of(ids, positions, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            machine.synchronize()
            times.append(time.perf_counter() - start)
    seconds = median(times[WARMUP:])
    speed = rows * length / seconds
    device = find_device(machine.name)
    return {
        "seconds": seconds,
        "tokens_per_second": speed,
        "mfu": None
        if device is None
        else flops_per_token(network, length) * speed / device.bf16_flops,
        "peak_bytes": machine.peak(),
        "loss": loss.item(),
    }


def _autocast(machine: Machine, precision: str) -> AbstractContextManager[Any]:
    if precision == "bf16-autocast":
        return torch.autocast(machine.device.type, torch.bfloat16)
    return nullcontext()
