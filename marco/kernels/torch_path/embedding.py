"""Reading rows of a table that is the head too: its gradient is added into the head's.

A second dense gradient, mostly zeros, would take as much memory and time as the head's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Tie:
    """Between the embedding and the head of one forward.

    `gradient` is the head's, from its backward until the embedding's, which always follows: by
    then autograd holds that very tensor and waits for the embedding's share. The weight must have
    no third use in that forward: what it adds would come between.
    """

    def __init__(self) -> None:
        self.gradient: Tensor | None = None


def embedding(ids: Tensor, weight: Tensor, tie: Tie) -> Tensor:
    """Rows `ids` [...] of weight [rows, hidden]: [..., hidden]."""
    return _Embedding.apply(ids, weight, tie)  # type: ignore[no-any-return, no-untyped-call]


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, tie: Tie) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.rows, ctx.tie = weight.shape[0], tie
        return functional.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (ids,) = ctx.saved_tensors
        head, ctx.tie.gradient = ctx.tie.gradient, None
        if head is None:
            return None, torch.ops.aten.embedding_dense_backward(dy, ids, ctx.rows, -1, False), None
        head.index_add_(0, ids.flatten(), dy.reshape(-1, dy.shape[-1]).to(head.dtype))
        return None, None, None
