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

    The head takes the weight from the embedding's node, not from the parameter. So autograd hands
    that node both gradients at once, the head's whole, whatever else the parameter is used for.
    """

    def __init__(self) -> None:
        self.table: Tensor | None = None
        self.through: Tensor | None = None

    def head(self, weight: Tensor) -> Tensor:
        """The weight for the head to use: by way of the embedding, if it read this one's rows."""
        if self.through is None or self.table is not weight:
            return weight
        # Reentrant checkpointing reads the rows without gradients, and again in the backward.
        return self.through if self.through.requires_grad else weight


def embedding(ids: Tensor, weight: Tensor, tie: Tie) -> Tensor:
    """Rows `ids` [...] of weight [rows, hidden]: [..., hidden]."""
    if torch.compiler.is_compiling():
        return functional.embedding(ids, weight)
    read, tie.through = _Embedding.apply(ids, weight)  # type: ignore[no-untyped-call]
    tie.table = weight
    return read  # type: ignore[no-any-return]


class _Embedding(torch.autograd.Function):
    """The rows read, and the table itself for the head."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        ctx.set_materialize_grads(False)
        ctx.rows = weight.shape[0]
        return functional.embedding(ids, weight), weight.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, head: Tensor | None) -> tuple[None, Tensor | None]:
        (ids,) = ctx.saved_tensors
        if dy is None:
            return None, head
        if head is None:
            return None, torch.ops.aten.embedding_dense_backward(dy, ids, ctx.rows, -1, False)
        # In place: heads alone use what the forward gave out, and they keep no gradient they made.
        return None, head.index_add_(0, ids.flatten(), dy.reshape(-1, dy.shape[-1]).to(head.dtype))
