"""Which implementation of the hot operations a model uses, and putting it in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from shutil import which
from typing import TYPE_CHECKING, Literal

from marco.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Backend = Literal["triton", "inductor", "torch", "native", "reference"]


@dataclass(frozen=True)
class Kernels:
    """The kernel backend, recorded with the run and reused when it is resumed.

    Attributes:
        backend: `auto` is Triton on a GPU and, on a CPU, native where it compiles, else torch.
            `triton`: fused kernels. `torch`: the same operations in plain torch, arranged for a
            CPU. `native`: those with the passes between products in C++. `inductor`:
            transformers' layers, each compiled. `reference`: transformers as it comes, untouched.
        autotune: of `triton`: `off` launches every kernel with a fixed choice for the chip. `on`
            times a few choices at the first call with new sizes (about a minute, once: what was
            found is kept in the cache folder); losses may then differ in their last bits.
    """

    backend: Literal["auto", "triton", "inductor", "torch", "native", "reference"] = "auto"
    autotune: Literal["on", "off"] = "off"

    def check(self, accelerator: str) -> None:
        """Raise ConfigError where the machine cannot run the backend. Imports torch if it must."""
        if self.backend == "triton" and os.environ.get("TRITON_INTERPRET") != "1":
            import torch

            if accelerator == "cpu" or not torch.cuda.is_available():
                raise ConfigError(
                    "kernels=triton needs a GPU, or Triton's (very slow) interpreter: "
                    "TRITON_INTERPRET=1. On a CPU kernels=auto takes the fast one."
                )
            if find_spec("triton") is None:
                raise ConfigError(
                    "kernels=triton needs the package triton, which is not installed."
                )
        if self.backend == "native":
            require_native()
        if self.backend == "inductor" and accelerator == "cpu" and which("g++") is None:
            raise ConfigError("kernels=inductor compiles C++ on a CPU: there is no g++ here.")

    def chosen(self, device: str) -> Backend:
        """What runs on `cuda` or `cpu`."""
        if self.backend != "auto":
            return self.backend
        if device == "cuda":
            return "triton"
        from marco.kernels.torch_path import native

        return "native" if native.available() else "torch"


def require_native() -> None:
    """Raise ConfigError where the C++ cannot be compiled, nor is in the cache."""
    from marco.kernels.torch_path import native

    if not native.available():
        raise ConfigError(
            "kernels=native needs Linux and g++, which compiles it once; there is none, or it "
            "failed. A new run can do without (kernels=torch); one that began with it cannot."
        )


def install(
    network: PreTrainedModel, backend: Backend, autotune: Literal["on", "off"] = "off"
) -> str:
    """Give the layers of this one model the backend's operations; returns a line for the log.

    `autotune` is the process' (`marco.kernels.tuning`); only Triton's kernels are tuned.

    Its parameters, their names and `save_pretrained` stay as they are. A model of another
    architecture than Qwen2 and Qwen3 is left alone.
    """
    if backend == "native":
        require_native()
    if backend == "reference":
        return "Kernels: reference (transformers untouched)."
    if backend == "inductor":
        for layer in network.model.layers:
            layer.compile(dynamic=False)
        return f"Kernels: inductor, {len(network.model.layers)} compiled layers."
    if backend == "triton":
        from marco.kernels.tuning import set_autotune

        set_autotune(autotune)
    from marco.models.fused import fuse

    return fuse(network, backend)
