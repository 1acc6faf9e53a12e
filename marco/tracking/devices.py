"""Peak dense bf16 matrix FLOP/s of the accelerators whose numbers are published.

A device that is not exactly one of these has no peak here (and its run no MFU): a custom board, a
laptop part, or a MIG slice of a known chip would otherwise be reported against the wrong peak.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Device:
    """One accelerator: ``pattern`` matches the whole of ``torch.cuda.get_device_name()``."""

    name: str
    pattern: str
    bf16_flops: float
    source: str


# Dense: NVIDIA's data sheets print twice this for the tensor cores' 2:4 sparsity.
DEVICES: tuple[Device, ...] = (
    Device(
        "A100",
        r"A100(-SXM4-(40|80)GB|-PCIE-40GB|-SXM-80GB| 80GB PCIe)",
        312e12,
        "NVIDIA A100 Tensor Core GPU data sheet: 312 TFLOPS",
    ),
    Device(
        "H100 SXM",
        r"H100 (80GB HBM3|SXM5 80GB)",
        989.4e12,
        "NVIDIA H100 white paper, table 2: 989.4 TFLOPS (SXM5)",
    ),
    Device("H100 PCIe", r"H100 PCIe", 756e12, "NVIDIA H100 white paper, table 2: 756 TFLOPS"),
    Device(
        "H200",
        r"H200",
        989.5e12,
        "NVIDIA H200 data sheet: 1,979 TFLOPS with sparsity (SXM)",
    ),
    Device("B200", r"B200", 2250e12, "NVIDIA HGX B200 data sheet: 36 PFLOPS sparse on 8 GPUs"),
    Device("L40S", r"L40S", 362.05e12, "NVIDIA L40S data sheet: 362.05 TFLOPS"),
    Device(
        "RTX 4090",
        r"GeForce RTX 4090",
        165.2e12,
        "NVIDIA Ada white paper, table 2: 165.2 TFLOPS (bf16, fp32 accumulation)",
    ),
    Device(
        "MI300X",
        r"(Instinct )?MI300X( OAM)?",
        1307.4e12,
        "AMD Instinct MI300X data sheet: 1,307.4 TFLOPS",
    ),
)


def machine(device: torch.device, processes: int, threads: int) -> str:
    """Return what a run is made on, in words: "2 × cpu (x86_64), 4 threads each"."""
    if device.type == "cuda":
        return f"{processes} × {torch.cuda.get_device_name(device)}"
    kind = f" ({platform.machine()})" if device.type == "cpu" else ""
    return f"{processes} × {device.type}{kind}, {threads} threads each"


def find_device(name: str) -> Device | None:
    """Return the entry for a device name such as ``NVIDIA H100 80GB HBM3``; None when unknown."""
    bare = re.sub(r"^(NVIDIA|AMD)\s+", "", name.strip())
    for device in DEVICES:
        if re.fullmatch(device.pattern, bare):
            return device
    return None
