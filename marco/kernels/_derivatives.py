"""Which derivatives the operations have: one, in reverse mode."""

from __future__ import annotations

from torch import Tensor
from torch.autograd.forward_ad import unpack_dual


def require_no_tangents(op: str, **tensors: Tensor) -> None:
    """Raise NotImplementedError naming the first tensor that forward-mode AD differentiates by.

    A custom op would drop the tangent, and `torch.func.jvp` give zero, unless the tensor happens to
    require a gradient as well.
    """
    for name, tensor in tensors.items():
        if unpack_dual(tensor).tangent is not None:  # type: ignore[no-untyped-call]
            raise NotImplementedError(
                f"{op}: {name} has a tangent, but there is no forward-mode derivative; "
                f"torch.autograd.grad has the reverse one, and {op}_naive has both."
            )
