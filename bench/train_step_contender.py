"""One contender of `bench.train_step`, in its own process; prints one JSON line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, Qwen2Config

from marco.models.kernels import Kernels, install
from marco.objectives.causal_lm import CausalLanguageModel
from marco.training.allocator import keep_pages

# docs/performance.md: a small model, and a slice of Qwen2-0.5B with its whole vocabulary.
SHAPES: dict[str, dict[str, Any]] = {
    "A": {
        "rows": 8,
        "length": 512,
        "vocab_size": 16_384,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    },
    "B": {
        "rows": 1,
        "length": 512,
        "vocab_size": 151_936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 4,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
}


def memory(key: str) -> int:
    """Bytes the operating system counts: VmRSS now, VmHWM at the most so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def products(model: nn.Module, tokens: int) -> float:
    """Seconds of every linear product of a step, alone: forward, and two in the backward."""
    shapes = [m.weight.shape for m in model.modules() if isinstance(m, nn.Linear)]
    total = 0.0
    for shape in set(shapes):
        x = torch.randn(tokens, shape[1]).bfloat16()
        w = torch.randn(shape).bfloat16()
        y = torch.randn(tokens, shape[0]).bfloat16()
        for _ in range(2):
            times = []
            for _ in range(3):
                start = time.perf_counter()
                torch.mm(x, w.T)
                torch.mm(y, w)
                torch.mm(y.T, x)
                times.append(time.perf_counter() - start)
        total += shapes.count(shape) * median(times)
    return total


def measure(contender: str, shape: dict[str, Any], steps: int) -> dict[str, Any]:
    """Train `steps` steps after two others; the model and its data are the same for all.

    Returns `seconds` a step (median), those of the `first`, the `tokens` of one, the last `loss`,
    `memory` (bytes at the most, above the process before the model and above its state), and the
    share of a step that its linear products take alone (`roofline`).
    """
    sizes = {key: size for key, size in shape.items() if key not in ("rows", "length")}
    rows, length = shape["rows"], shape["length"]
    torch.manual_seed(0)
    torch.zeros(8, 8).bfloat16() @ torch.zeros(8, 8).bfloat16()
    before = memory("VmRSS")
    network = AutoModelForCausalLM.from_config(Qwen2Config(tie_word_embeddings=True, **sizes))
    network.train()
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    ids = torch.randint(0, shape["vocab_size"], (rows, length))
    labels = ids.roll(-1, 1)
    positions = torch.arange(length).expand(rows, length)
    if contender == "ours":
        backend = Kernels().chosen("cpu")
        install(network, backend)
        model = CausalLanguageModel(network, shape["vocab_size"], backend)
    elif contender == "compile":
        for layer in network.model.layers:
            layer.compile()
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            if contender == "ours":
                scale = 1 / labels.numel()
                loss = model(ids, positions, labels, upstream=scale).sum() * scale
            else:
                loss = network(ids, labels=labels, shift_labels=labels, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
    # fp32 weights, gradients, two moments
    state = 4 * sum(parameter.nbytes for parameter in parameters)
    return {
        "seconds": median(times[2:]),
        "first": times[0],
        "tokens": rows * length,
        "loss": loss.item(),
        "memory": memory("VmHWM") - before - state,
        "roofline": products(network, rows * length) / median(times[2:]),
    }


def main() -> None:
    """Train a few steps and say what they took."""
    contender, shape, steps = sys.argv[1], SHAPES[sys.argv[2]], int(sys.argv[3])
    if contender in ("ours", "eager_same_allocator"):
        keep_pages()
    print(json.dumps(measure(contender, shape, steps)))


if __name__ == "__main__":
    main()
