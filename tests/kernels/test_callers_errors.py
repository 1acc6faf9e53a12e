"""What the ops tell a direct caller: of tensors on two devices, and of forward-mode derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from marco.kernels.add_rms_norm import add_rms_norm
from marco.kernels.linear_cross_entropy import linear_cross_entropy
from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton
from marco.kernels.linear_distillation import linear_distillation, linear_distillation_naive
from marco.kernels.linear_log_probs import linear_log_probs
from marco.kernels.rms_norm import rms_norm
from marco.kernels.rope import rope
from marco.kernels.swiglu import swiglu
from marco.kernels.torch_path import norm
from marco.kernels.torch_path import rope as torch_rope

Inputs = dict[str, Tensor]


def norm_inputs(*names: str) -> Inputs:
    return {name: torch.ones(8) if name == "weight" else torch.ones(3, 8) for name in names}


def rope_inputs() -> Inputs:
    tables = {name: torch.ones(1, 5, 8) for name in ("cos", "sin")}
    return {"q": torch.ones(2, 5, 4, 8), "k": torch.ones(2, 5, 2, 8)} | tables


def loss_inputs() -> Inputs:
    return {
        "hidden": torch.ones(3, 8),
        "weight": torch.ones(9, 8),
        "targets": torch.tensor([0, 8, 2]),
    }


def distillation_inputs() -> Inputs:
    return {
        "student_hidden": torch.ones(3, 8),
        "student_weight": torch.ones(9, 8),
        "teacher_hidden": torch.ones(3, 6),
        "teacher_weight": torch.ones(9, 6),
    }


def log_probs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return linear_log_probs(hidden[None], weight, targets[None])[0]


#: Each op, its inputs, and which of them it has a gradient for.
OPS: dict[str, tuple[Callable[..., Any], Inputs, tuple[str, ...]]] = {
    "rms_norm": (
        lambda **x: rms_norm(**x, eps=1e-6),
        norm_inputs("x", "weight"),
        ("x", "weight"),
    ),
    "add_rms_norm": (
        lambda **x: add_rms_norm(**x, eps=1e-6),
        norm_inputs("x", "residual", "weight"),
        ("x", "residual", "weight"),
    ),
    "rope": (rope, rope_inputs(), ("q", "k")),
    "swiglu": (swiglu, norm_inputs("gate", "up"), ("gate", "up")),
    "linear_cross_entropy": (linear_cross_entropy, loss_inputs(), ("hidden", "weight")),
    "linear_cross_entropy, Triton": (
        linear_cross_entropy_triton,
        loss_inputs(),
        ("hidden", "weight"),
    ),
    "linear_log_probs": (log_probs, loss_inputs(), ("hidden", "weight")),
    "linear_distillation": (
        linear_distillation,
        distillation_inputs(),
        ("student_hidden", "student_weight"),
    ),
}
PLAIN: dict[str, tuple[Callable[..., Any], Inputs]] = {
    "norm of the torch path": (
        lambda **x: norm.rms_norm(**x, eps=1e-6),
        norm_inputs("x", "weight"),
    ),
    "rope of the torch path": (torch_rope.rope, rope_inputs()),
    "linear_distillation_naive": (linear_distillation_naive, distillation_inputs()),
}
DEVICES = {name: (op, inputs) for name, (op, inputs, _) in OPS.items()} | PLAIN


@pytest.mark.parametrize(
    ("name", "elsewhere"),
    [(name, other) for name, (_, inputs) in DEVICES.items() for other in list(inputs)[1:]],
)
def test_tensors_on_two_devices(name: str, elsewhere: str) -> None:
    op, inputs = DEVICES[name]
    first = next(iter(inputs))
    words = f"{first} is on cpu and {elsewhere} on meta; {elsewhere} should be on cpu too"
    with pytest.raises(ValueError, match=words):
        op(**inputs | {elsewhere: inputs[elsewhere].to("meta")})


@pytest.mark.parametrize(
    ("name", "which"),
    [(name, x) for name, (*_, differentiable) in OPS.items() for x in differentiable],
)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_forward_mode_is_refused(name: str, which: str, requires_grad: bool) -> None:
    op, inputs, _ = OPS[name]
    x = inputs[which].clone().requires_grad_(requires_grad)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(NotImplementedError, match=f"{which} has a tangent.*_naive has both"):
            op(**inputs | {which: dual})
        op(**inputs)
    with pytest.raises(NotImplementedError, match=f"{which} has a tangent"):
        torch.func.jvp(lambda x: op(**inputs | {which: x}), (inputs[which],), (inputs[which],))
