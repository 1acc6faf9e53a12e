"""The ops that `bench.gpu` measures, and who computes each: ours, torch, torch.compile, Liger.

Every contender of an op takes the same inputs and gives the same outputs; losses are means, as a
training step takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from bench import kernel_launches
from bench.gpu_attention import attention
from bench.op_inputs import real
from marco.kernels.add_rms_norm import add_rms_norm_naive
from marco.kernels.linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_naive
from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton
from marco.kernels.linear_distillation import Divergence, linear_distillation_naive
from marco.kernels.rms_norm import rms_norm_naive
from marco.kernels.rope import rope_naive
from marco.kernels.swiglu import swiglu_naive

Run = Callable[..., Any]
DIVERGENCES: tuple[Divergence, ...] = ("kl", "reverse_kl", "js")


@dataclass(frozen=True)
class Op:
    """One op at one size.

    Attributes:
        inputs: leaves on the device.
        plain: the twin in plain torch, which is the truth in float64.
        contenders: by name, what makes each; making may fail. `ours` and `torch` are always there.
    """

    inputs: list[Tensor]
    plain: Run
    contenders: Mapping[str, Callable[[], Run]]


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    return rms_norm_naive(x, weight, 1e-6)


def _loss(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """As `marco.objectives.causal_lm` and the trainer call it."""
    scale = 1 / targets.shape[0]
    losses = linear_cross_entropy(hidden, head, targets, backend="triton", upstream=scale)
    return losses.sum() * scale


def _plain_loss(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    return linear_cross_entropy_naive(hidden, head, targets).mean()


def _every_option(hidden: Tensor, head: Tensor, targets: Tensor) -> list[Tensor]:
    # Not `filter_gradients`: an approximation.
    losses, _, entropy = linear_cross_entropy_triton(
        hidden, head, targets, z_loss=1e-4, label_smoothing=0.1, statistics=True
    )
    return [losses, entropy]


def _plain_every_option(hidden: Tensor, head: Tensor, targets: Tensor) -> list[Tensor]:
    losses = linear_cross_entropy_naive(hidden, head, targets, z_loss=1e-4, label_smoothing=0.1)
    with torch.no_grad():
        logits = torch.nn.functional.linear(hidden, head)
        log_probs = logits.to(losses.dtype).log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
    return [losses, entropy]


def _plain_distillation(divergence: Divergence) -> Run:
    return lambda *pairs: linear_distillation_naive(*pairs, divergence=divergence).mean()


#: The plain twins, by the names of `bench.kernel_launches.our_ops`.
PLAIN: dict[str, Run] = {
    "rms_norm": _norm,
    "rms_norm of heads": _norm,
    "add_rms_norm": lambda x, r, w: add_rms_norm_naive(x, r, w, 1e-6),
    "rope": rope_naive,
    "swiglu": swiglu_naive,
    "linear_cross_entropy": _plain_loss,
    "linear_cross_entropy, every option": _plain_every_option,
    **{f"linear_distillation, {name}": _plain_distillation(name) for name in DIVERGENCES},
}
OPS = (*PLAIN, "attention")


def has_head(name: str) -> bool:
    """Whether an op makes logits, which in float64 do not fit for all tokens."""
    return name.startswith("linear_")


def build(name: str, model: str, dtype: torch.dtype, device: torch.device, tokens: int) -> Op:
    """An op at a model's shapes (`bench.kernel_launches.MODELS`)."""
    # Nothing compiled for other shapes is left, nor a reason to compile for any shape.
    torch.compiler.reset()
    sizes = kernel_launches.MODELS[model]
    if name == "attention":
        return Op(*attention(sizes, dtype, device, tokens))
    run, metas = kernel_launches.our_ops(model, dtype, tokens)[name]
    if name == "linear_cross_entropy":
        run = _loss
    elif name == "linear_cross_entropy, every option":
        run = _every_option
    elif has_head(name):
        run = _mean(run)
    plain = PLAIN[name]
    contenders = {
        "ours": lambda: run,
        "torch": lambda: plain,
        "compile": lambda: torch.compile(plain, dynamic=False),
    }
    if find_spec("liger_kernel") is not None and name != "linear_cross_entropy, every option":
        contenders["liger"] = lambda: kernel_launches.liger_ops(model, dtype, tokens)[name][0]
    return Op(real(metas, sizes[-1], device), plain, contenders)


def _mean(run: Run) -> Run:
    return lambda *inputs: run(*inputs).mean()
