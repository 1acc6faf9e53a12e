"""Which implementation of the hot operations a model uses, and putting it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Backend = Literal["triton", "inductor", "torch", "reference"]


@dataclass(frozen=True)
class Kernels:
    """The kernel backend, recorded with the run and reused when it is resumed.

    Attributes:
        backend: `auto` is Triton on a GPU and torch on a CPU. `triton`: fused kernels. `torch`:
            the same operations in plain torch, arranged for a CPU. `inductor`: transformers'
            layers, each compiled. `reference`: transformers as it comes, untouched.
    """

    backend: Literal["auto", "triton", "inductor", "torch", "reference"] = "auto"

    def chosen(self, device: str) -> Backend:
        """What runs on `cuda` or `cpu`."""
        if self.backend != "auto":
            return self.backend
        return "triton" if device == "cuda" else "torch"


def install(network: PreTrainedModel, backend: Backend) -> str:
    """Give the layers of this one model the backend's operations; returns a line for the log.

    Its parameters, their names and `save_pretrained` stay as they are. A model of another
    architecture than Qwen2 and Qwen3 is left alone.
    """
    if backend == "reference":
        return "Kernels: reference (transformers untouched)."
    if backend == "inductor":
        for layer in network.model.layers:
            layer.compile(dynamic=False)
        return f"Kernels: inductor, {len(network.model.layers)} compiled layers."
    from marco.models.fused import fuse

    return fuse(network, backend)
