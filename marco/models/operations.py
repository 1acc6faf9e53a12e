"""The operations of a decoder layer, by backend: what `marco.models.fused` is written in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from marco.models.attention import attend


@dataclass(frozen=True)
class Operations:
    """One backend's operations; shapes as in `marco.kernels`.

    Attributes:
        linears: input, weights, biases → one product a weight.
        gated: input, gate weight, up weight → silu(gate) · up.
        attend: `marco.models.attention.attend`.
    """

    name: str
    rms_norm: Callable[[Tensor, Tensor, float], Tensor]
    add_rms_norm: Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
    rope: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    linears: Callable[[Tensor, Sequence[Tensor], Sequence[Tensor | None]], Sequence[Tensor]]
    gated: Callable[[Tensor, Tensor, Tensor], Tensor]
    attend: Callable[..., Tensor] = attend

    def __reduce__(self) -> tuple[Callable[..., Operations], tuple[str]]:
        """Pickled by name: a fused model can be pickled and sent to a process."""
        return operations, (self.name,)


def operations(backend: Literal["triton", "torch", "native"]) -> Operations:
    """Return a backend's operations. Triton is imported only for its own."""
    if backend == "native":
        from marco.kernels.torch_path.native import on

        plain = operations("torch")
        names = ("rms_norm", "add_rms_norm", "rope", "gated", "attend")
        return replace(plain, name="native", **{name: on(getattr(plain, name)) for name in names})
    if backend == "torch":
        from marco.kernels.torch_path.linear import linears
        from marco.kernels.torch_path.norm import add_rms_norm, rms_norm
        from marco.kernels.torch_path.rope import rope
        from marco.kernels.torch_path.swiglu import swiglu

        def gated(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
            return swiglu(linears(x, (gate, up), (None, None)))

        def apart(
            x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]
        ) -> Sequence[Tensor]:
            joined = linears(x, weights, biases)
            return torch.split(joined, [weight.shape[0] for weight in weights], dim=-1)

        return Operations("torch", rms_norm, add_rms_norm, rope, apart, gated)
    from marco.kernels import add_rms_norm as fused_add_norm
    from marco.kernels import rms_norm as fused_norm
    from marco.kernels import rope as fused_rope
    from marco.kernels import swiglu as fused_swiglu

    def gated_product(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
        return fused_swiglu.swiglu(functional.linear(x, gate), functional.linear(x, up))

    return Operations(
        "triton",
        fused_norm.rms_norm,
        fused_add_norm.add_rms_norm,
        fused_rope.rope,
        _products,
        gated_product,
    )


def _products(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]
) -> Sequence[Tensor]:
    """A GPU gains little from joining products, and the join would cost a copy."""
    return [functional.linear(x, w, b) for w, b in zip(weights, biases, strict=True)]
