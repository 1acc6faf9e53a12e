"""Several linear layers of one input as one product, cast as autocast would, without its passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from marco.kernels.torch_path.types import compute_type


def linears(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> Tensor:
    """Return x @ [w1; w2; …].T + biases: [..., outs of all], the weights of shape [out, in].

    The weights are cast and joined in one pass, again in the backward: keeping the copies would
    cost as much memory as the layers have in that type.
    """
    return _Linears.apply(x, compute_type(x), len(weights), *weights, *biases)  # type: ignore[no-any-return, no-untyped-call]


def _joined(weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    if len(weights) == 1:
        return weights[0].to(dtype)
    outs = [weight.shape[0] for weight in weights]
    joined = weights[0].new_empty((sum(outs), *weights[0].shape[1:]), dtype=dtype)
    for part, weight in zip(torch.split(joined, outs), weights, strict=True):
        part.copy_(weight)
    return joined


class _Linears(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dtype: torch.dtype, count: int, *parameters: Tensor | None
    ) -> Tensor:
        weights = [weight for weight in parameters[:count] if weight is not None]
        biases = parameters[count:]
        rows = x.reshape(-1, x.shape[-1]).to(dtype)
        ctx.save_for_backward(rows, *weights)
        ctx.kind, ctx.shape = x.dtype, x.shape
        ctx.biases = [bias is not None for bias in biases]
        joined = _joined(weights, dtype).T
        if any(ctx.biases):
            # Added inside the product: added to its result, a bias would cost a second rounding.
            every = [
                weight.new_zeros(weight.shape[0]) if bias is None else bias
                for weight, bias in zip(weights, biases, strict=True)
            ]
            y = torch.addmm(_joined(every, dtype), rows, joined)
        else:
            y = rows @ joined
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        rows, *weights = ctx.saved_tensors
        dy = dy.reshape(-1, dy.shape[-1]).to(rows.dtype)
        outs = [weight.shape[0] for weight in weights]
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (dy @ _joined(weights, rows.dtype)).view(ctx.shape).to(ctx.kind)
        wanted = ctx.needs_input_grad[3:]
        d_weights: list[Tensor | None] = [None] * len(weights)
        if any(wanted[: len(weights)]):
            made = torch.split(dy.T @ rows, outs)
            d_weights = [part.to(w.dtype) for part, w in zip(made, weights, strict=True)]
        d_biases: list[Tensor | None] = [
            part.sum(0, dtype=torch.float32 if part.dtype != torch.float64 else None).to(w.dtype)
            if has and want
            else None
            for part, has, want, w in zip(
                torch.split(dy, outs, dim=1),
                ctx.biases,
                wanted[len(weights) :],
                weights,
                strict=True,
            )
        ]
        return dx, None, None, *d_weights, *d_biases
