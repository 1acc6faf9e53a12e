"""Which shapes the operations take, all on one device: nothing here imports Triton, nor waits."""

from __future__ import annotations

from torch import Tensor


def require_one_device(op: str, **tensors: Tensor | None) -> None:
    """Raise ValueError unless all are where the first is; None is left out.

    A kernel would take the others' addresses for its own device's.
    """
    (first, x), *others = ((name, x) for name, x in tensors.items() if x is not None)
    for name, other in others:
        if other.device != x.device:
            raise ValueError(
                f"{op}: {first} is on {x.device} and {name} on {other.device}; "
                f"{name} should be on {x.device} too."
            )


def require_norm_shapes(op: str, x: Tensor, weight: Tensor, residual: Tensor | None = None) -> None:
    """Raise ValueError unless x (and residual) is `[..., hidden]` and weight `[hidden]`.

    So it does where they are on different devices.
    """
    require_one_device(op, x=x, weight=weight, residual=residual)
    if x.ndim == 0 or weight.shape != x.shape[-1:]:
        raise ValueError(
            f"{op}: x {list(x.shape)} needs a weight of its last dimension; "
            f"the weight is {list(weight.shape)}."
        )
    if residual is not None and x.shape != residual.shape:
        raise ValueError(
            f"{op}: x {list(x.shape)} and residual {list(residual.shape)} differ in shape."
        )


def require_rope_shapes(op: str, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Raise ValueError unless q and k differ in heads only and the tables fit them.

    So it does where they are on different devices.
    """
    require_one_device(op, q=q, k=k, cos=cos, sin=sin)
    if q.ndim != 4 or k.ndim != 4 or q.shape[:2] != k.shape[:2] or q.shape[3] != k.shape[3]:
        raise ValueError(
            f"{op}: q and k must be [batch, length, heads, head_dim] and differ in heads only; "
            f"they are {list(q.shape)} and {list(k.shape)}."
        )
    batch, length, heads, head_dim = q.shape
    if heads == 0 or k.shape[2] == 0:
        raise ValueError(f"{op}: q has {heads} heads and k {k.shape[2]}; both need one at least.")
    if head_dim % 2:
        raise ValueError(f"{op}: head_dim must be even; it is {head_dim}.")
    for name, table in (("cos", cos), ("sin", sin)):
        if table.shape not in ((batch, length, head_dim), (1, length, head_dim)):
            raise ValueError(
                f"{op}: {name} must be [{batch} or 1, {length}, {head_dim}]; "
                f"it is {list(table.shape)}."
            )
