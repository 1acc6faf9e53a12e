"""Which implementation of the hot operations a model uses, and putting it in."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from importlib.util import find_spec
from shutil import which
from typing import TYPE_CHECKING, Literal, get_args

from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

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
        if self.backend == "triton":
            require_triton(on_cpu=accelerator == "cpu")
        if self.backend == "native":
            require_native()
        if self.backend == "inductor":
            require_inductor(on_cpu=accelerator == "cpu")

    def chosen(self, device: str) -> Backend:
        """What runs on `cuda` or `cpu`.

        The log says why where `auto` has to do without native, and where nothing can be tuned.
        """
        if self.autotune == "on" and device != "cuda":
            log.info("Kernels: no GPU here: nothing to tune, the fixed choices are used.")
        if self.backend != "auto":
            return self.backend
        if device == "cuda":
            return "triton"
        from marco.kernels.torch_path import native

        reason = native.why_not()
        if reason is None:
            return "native"
        log.info("Kernels: auto is torch, native is not to be had. %s", reason)
        return "torch"


def require_known(backend: str) -> None:
    """Raise ConfigError for a name that is no backend's."""
    names = get_args(Backend)
    if backend in names:
        return
    auto = " Kernels().chosen(device) says which one auto is."
    hint = auto if backend == "auto" else nearest(backend, names)
    raise ConfigError(
        f"There is no kernel backend {backend!r}.{hint} There are {', '.join(names)}."
    )


def require_triton(on_cpu: bool) -> None:
    """Raise ConfigError where Triton's kernels cannot run; `on_cpu`: nor may they on a GPU."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not interpreted and (on_cpu or not _has_gpu()):
        raise ConfigError(
            "kernels=triton needs a GPU, or Triton's (very slow) interpreter: "
            "TRITON_INTERPRET=1. On a CPU kernels=auto takes the fast one."
        )
    if find_spec("triton") is None:
        raise ConfigError("kernels=triton needs the package triton, which is not installed.")


def require_native() -> None:
    """Raise ConfigError where the C++ cannot be compiled, nor is in the cache."""
    from marco.kernels.torch_path import native

    reason = native.why_not()
    if reason is not None:
        raise ConfigError(
            f"kernels=native is not to be had. {reason} A new run can do without (kernels=torch); "
            "one that began with it cannot."
        )


def require_inductor(on_cpu: bool) -> None:
    """Raise ConfigError where torch.compile has no compiler; on a GPU it needs no C++."""
    compiler = os.environ.get("CXX", "g++")
    if which(compiler) is None and (on_cpu or not _has_gpu()):
        raise ConfigError(f"kernels=inductor compiles C++ on a CPU: there is no {compiler} here.")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def install(
    network: PreTrainedModel, backend: Backend, autotune: Literal["on", "off"] = "off"
) -> str:
    """Give the layers of this one model the backend's operations; returns a line for the log.

    `autotune` is the process' (`marco.kernels.tuning`); only Triton's kernels are tuned.

    Its parameters, their names and `save_pretrained` stay as they are. A model whose layers would
    compute something else (another architecture, activation, …) is left alone, and the line says
    why.

    Raises:
        ConfigError: a name that is no backend's, a machine that cannot run it, or a model that has
            kernels already.
    """
    require_known(backend)
    if backend == "native":
        require_native()
    if backend == "inductor":
        require_inductor(on_cpu=False)
    if backend == "triton" and network.device.type != "meta":  # bench.roofline only counts
        require_triton(on_cpu=False)
    from marco.models.fused import fuse, is_fused, layers_of

    layers = layers_of(network)
    if is_fused(network) or any(layer._compiled_call_impl is not None for layer in layers):
        raise ConfigError("This model has kernels already: build it anew to give it others.")
    if backend == "reference":
        return "Kernels: reference (transformers untouched)."
    if backend == "inductor":
        if not layers:
            return f"Kernels: {type(network).__name__} has no decoder layers to compile."
        for layer in layers:
            layer.compile(dynamic=False)
        return f"Kernels: inductor, {len(layers)} compiled layers."
    if backend == "triton":
        from marco.kernels.tuning import set_autotune

        set_autotune(autotune)
    return fuse(network, backend)
